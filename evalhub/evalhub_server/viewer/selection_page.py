"""Changes of the jobs that were selected in the list: confirmed on a page, ``/ui/selection/{action}``, and sent as a form."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from litestar import post, route
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.errors import ApiError
from evalhub_server.models.common import State
from evalhub_server.viewer.forms import KEY, Form, check_not_read_only, new_key, read_form
from evalhub_server.viewer.job_actions import ACTIONS, RERUNS, rerun_job
from evalhub_server.viewer.numbers import counted
from evalhub_server.viewer.page import Page, Table, page_response
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

MAX_SELECTED = 100
BUTTONS = {"cancel": "Cancel", "rerun": "Run again", "delete": "Delete"}
"""The actions on selected jobs, with their buttons. The actions are those of one job."""


class Selected(Struct, kw_only=True, frozen=True):
    """A selected job. ``obstacle`` is why the action is not possible; ``outcome`` is what it did, with the job that it created.

    ``name``, ``model`` and ``state`` are empty for a job that does not exist. After the action, ``done`` is whether it succeeded.
    """

    id: str
    name: str = ""
    model: str = ""
    state: str = ""
    obstacle: str = ""
    done: bool = False
    outcome: str = ""
    created_id: str = ""


@route("/selection/{action:str}", http_method=READ_METHODS, include_in_schema=False)
async def selection_page(
    request: ApiRequest, action: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """The selected jobs, what the action does to them, and the form that does it."""
    query = PageQuery(request, ("job", "only"))
    _check_action(action)
    only = query.choice("only", RERUNS, "failed")
    jobs = [await _selected(job_id, action, request, services) for job_id in _ids(query.texts("job"))]
    if not query.text("only") and all(job.state in ("", State.COMPLETED.value) for job in jobs):
        only = "all"
    return await page_response(request, query, _page(action, jobs, only=only))


@post("/selection/{action:str}", status_code=200, include_in_schema=False, guards=[check_not_read_only])
async def change_selection(
    request: ApiRequest, action: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Do it to each job, and show the outcome of each. One that fails does not keep the others from being changed."""
    query = PageQuery(request)
    _check_action(action)
    form = await read_form(request)
    ids = _ids(form.texts("job"))
    if action == "rerun":  # one after the other: the new jobs have the order of the old ones
        jobs = [await _changed(job_id, action, form, request, services) for job_id in ids]
    else:
        jobs = await asyncio.gather(*(_changed(each, action, form, request, services) for each in ids))
    return await page_response(request, query, _page(action, jobs, after=True))


SELECTION_PAGES = (selection_page, change_selection)


def _check_action(action: str) -> None:
    if action not in BUTTONS:
        raise NotFoundException


def _ids(texts: Sequence[str]) -> list[str]:
    ids = list(dict.fromkeys(texts))
    if not 1 <= len(ids) <= MAX_SELECTED:
        kind = f"id of a job, given 1 to {MAX_SELECTED} times"
        raise problems.query_parameter_invalid("job", kind, f"{len(ids)} ids")
    return ids


async def _selected(job_id: str, action: str, request: ApiRequest, services: Services) -> Selected:
    try:
        job = await services.jobs.get(job_id, request.identity)
    except ApiError as error:
        if error.status >= 500:
            raise
        return Selected(id=job_id, obstacle=error.message)
    obstacle = ""
    if action == "cancel" and job.state.terminal:
        obstacle = "It has ended already"
    if action == "rerun" and not job.state.terminal:
        obstacle = "It has not ended"
    return Selected(
        id=job.id, name=job.request.name, model=job.model_name, state=job.state.value, obstacle=obstacle
    )


async def _changed(job_id: str, action: str, form: Form, request: ApiRequest, services: Services) -> Selected:
    jobs, identity = services.jobs, request.identity
    try:
        job = await jobs.get(job_id, identity)
    except ApiError as error:
        return Selected(id=job_id, outcome=error.message)
    name, model, state = job.request.name, job.model_name, job.state.value
    created_id, done, outcome = "", True, ""
    try:
        match action:
            case "cancel":
                await jobs.cancel(job_id, identity)
                outcome, state = "cancelled", "cancelled"
            case "delete":
                left = await jobs.delete(job_id, identity)
                outcome, state = f"deleted. {left}" if left else "deleted", ""
            case _:
                key = f"{form.text(KEY)} {job_id}" if form.text(KEY) else ""
                created_id = await rerun_job(job_id, form, request, services, key)
                outcome = "started again"
    except ApiError as error:
        done, outcome = False, error.message
    return Selected(
        id=job_id, name=name, model=model, state=state, done=done, outcome=outcome, created_id=created_id
    )


def _page(action: str, jobs: Sequence[Selected], *, only: str = "failed", after: bool = False) -> Page:
    possible = [job for job in jobs if job.done or not (after or job.obstacle)]
    return Page(
        name="selection",
        title=f"{BUTTONS[action]} · {counted(len(jobs), 'job')}",
        section="/ui/jobs",
        values={
            "name": action,
            "action": ACTIONS[action],
            "button": f"{BUTTONS[action]} {counted(len(possible), 'job')}",
            "jobs": jobs,
            "possible": possible,
            "reruns": RERUNS,
            "only": only,
            "key": new_key(),
            "after": after,
        },
        data={"action": action, "items": jobs},
        table=Table(
            columns=("id", "name", "model", "state", "obstacle", "done", "outcome", "created_id"),
            rows=[
                (job.id, job.name, job.model, job.state, job.obstacle, job.done, job.outcome, job.created_id)
                for job in jobs
            ],
        ),
    )
