"""Changes of a job from its page: each is confirmed on a page of its own, ``/ui/jobs/{job_id}/{action}``, and sent as a form."""

from __future__ import annotations

from litestar import post, route
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.engine.job_creation import IdempotencyKey
from evalhub_server.models.rerun import RerunRequest
from evalhub_server.viewer.forms import KEY, Form, check_not_read_only, new_key, read_form
from evalhub_server.viewer.page import Page, page_response, redirect
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services


class Action(Struct, frozen=True):
    """A change of a job: the button that does it, and what it does."""

    button: str
    explanation: str
    destructive: bool = False


ACTIONS = {
    "cancel": Action(
        "Cancel the job",
        "Benchmarks that run are terminated, and killed after a grace period. The job, its results so far and its logs are kept.",
        destructive=True,
    ),
    "delete": Action(
        "Delete the job",
        "Benchmarks that run are terminated. The job, its results, samples, artifacts and logs are removed for ever.",
        destructive=True,
    ),
    "rerun": Action(
        "Run again",
        "A new job repeats the selected benchmarks as this job planned them. This job is not changed.",
    ),
    "pin": Action("Pin the job", "A pinned job is never removed by retention."),
    "unpin": Action("Unpin the job", "The job may be removed by retention again."),
}
RERUNS = ("failed", "missing", "all")


@route("/jobs/{job_id:str}/{action:str}", http_method=READ_METHODS, include_in_schema=False)
async def job_action_page(
    request: ApiRequest, job_id: FromPath[str], action: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """What the action does, and the form that does it."""
    query = PageQuery(request, ("only",))
    only = query.choice("only", RERUNS, "failed")
    found = ACTIONS.get(action)
    if found is None:
        raise NotFoundException
    job = await services.jobs.get(job_id, request.identity)
    if action == "rerun" and not query.text("only") and job.state.value == "completed":
        only = "all"
    values = {
        "job": job,
        "name": action,
        "action": found,
        "reruns": RERUNS,
        "only": only,
        "key": new_key(),
    }
    data = {"job_id": job.id, "action": action, "explanation": found.explanation}
    page = Page(
        name="job_action",
        title=f"{found.button} · {job.request.name}",
        section="/ui/jobs",
        values=values,
        data=data,
    )
    return await page_response(request, query, page)


@post(
    "/jobs/{job_id:str}/{action:str}", status_code=303, include_in_schema=False, guards=[check_not_read_only]
)
async def do_job_action(
    request: ApiRequest, job_id: FromPath[str], action: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Do it, and lead to the job that it concerns."""
    if action not in ACTIONS:
        raise NotFoundException
    form = await read_form(request)
    jobs, identity = services.jobs, request.identity
    shown = f"/ui/jobs/{job_id}"
    match action:
        case "cancel":
            await jobs.cancel(job_id, identity)
        case "delete":
            await jobs.delete(job_id, identity)
            shown = "/ui/jobs"
        case "rerun":
            shown = f"/ui/jobs/{await rerun_job(job_id, form, request, services, form.text(KEY))}"
        case _:
            await jobs.pin(job_id, identity, pinned=action == "pin")
    return redirect(url_prefix(request.scope) + shown)


async def rerun_job(job_id: str, form: Form, request: ApiRequest, services: Services, key: str) -> str:
    """Repeat benchmarks; the same form sent twice, with the same key, creates one job. Returns its id."""
    only = form.text("only")
    if only not in RERUNS:
        raise problems.query_parameter_value_invalid("only", "|".join(RERUNS))
    wanted = RerunRequest(only=only)
    once = IdempotencyKey.of(key, "rerun", job_id, wanted) if key else None
    return (await services.jobs.rerun(job_id, wanted, request.identity, once)).id


JOB_ACTIONS = (job_action_page, do_job_action)
