"""The form that starts a job: ``/ui/run``. Its fields can be prefilled by the query, so that a link shows the same form."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pprint import pformat
from typing import Any

import msgspec
from litestar import post, route
from litestar.di import NamedDependency
from msgspec import Struct

from evalhub_server.domain.redaction import MASK, redacted, redacted_text
from evalhub_server.domain.resource import Kind
from evalhub_server.domain.validation import decode_job, parse, validate
from evalhub_server.errors import ApiError, FieldError
from evalhub_server.models.job_check import JobCheck
from evalhub_server.plugins.storage import JobQuery, ResourceQuery
from evalhub_server.viewer.forms import check_not_read_only, new_key, read_form
from evalhub_server.viewer.page import Page, format_of, page_response, redirect
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

FIELDS = (
    "collection",
    "provider",
    "benchmark",
    "model",
    "url",
    "secret",
    "limit",
    "parameters",
    "name",
    "tags",
    "experiment",
)
"""Fields of the form, and parameters of the page."""

_LIMIT = re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII)

RECENT = 50
"""Jobs whose models are suggested."""
CREDENTIALS = "must not have credentials: store them as a secret, and give its name in the field Secret"


class Draft(Struct, frozen=True):
    """A request for a job, as the form has it. ``request`` is the body of a create, ``parameters`` are for all benchmarks."""

    fields: Mapping[str, str]
    request: Mapping[str, Any]
    parameters: Mapping[str, Any]
    faults: Sequence[FieldError] = ()


@route("/run", http_method=READ_METHODS, include_in_schema=False)
async def run_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """The form, empty or prefilled."""
    query = PageQuery(request, FIELDS)
    draft = await _expanded(_draft({name: query.text(name) for name in FIELDS}), request, services)
    if (shown := draft.fields["url"]) != query.text("url") and not format_of(request):
        return redirect(query.url(url=shown))  # links of a page have its query
    return await _form(request, services, query, draft)


@post("/run", status_code=303, include_in_schema=False, guards=[check_not_read_only])
async def start_run(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Check the request, or create the job and lead to it. The same form sent twice creates one job."""
    form = await read_form(request)
    query = PageQuery(request)
    draft = await _expanded(_draft({name: form.text(name) for name in FIELDS}), request, services)
    body = msgspec.json.encode(draft.request)
    if form.text("do") != "start" or draft.faults:
        check = await services.jobs.checker.check(body, request.identity)
        return await _form(request, services, query, draft, check)
    try:
        wanted = decode_job(body)
        validate(wanted, "EvaluationJobConfig")
        job = await services.jobs.create(wanted, request.identity, form.idempotency_key("create", wanted))
    except ApiError as error:
        if error.status >= 500:
            raise
        check = await services.jobs.checker.check(body, request.identity)
        if check.valid:  # what only a create finds
            faults = error.errors or (FieldError("", error.message),)
            check = msgspec.structs.replace(check, valid=False, errors=faults)
        return await _form(request, services, query, draft, check)
    return redirect(f"{url_prefix(request.scope)}/ui/jobs/{job.id}")


RUN_ROUTES = (run_page, start_run)


def _draft(fields: Mapping[str, str]) -> Draft:
    """The request that the fields describe, with what is wrong with them."""
    faults: list[FieldError] = []
    parameters: dict[str, Any] = {}
    if text := fields["parameters"]:
        try:
            parameters = msgspec.convert(parse(text.encode()), dict[str, Any])
        except msgspec.ValidationError as error:
            faults.append(FieldError("parameters", f"must be a JSON object: {error}"))
        except ApiError as error:
            faults.append(FieldError("parameters", f"must be a JSON object: {error.reason}"))
    if limit := fields["limit"]:
        if _LIMIT.fullmatch(limit):
            parameters["num_examples"] = int(limit)
        else:
            faults.append(FieldError("limit", "must be a number of samples, or empty"))
    if (shown := redacted_text(fields["url"])) != fields["url"] or MASK in shown:
        faults.append(FieldError("url", CREDENTIALS))
        fields = {**fields, "url": shown}
    model: dict[str, Any] = {"url": fields["url"], "name": fields["model"]}
    if fields["secret"]:
        model["auth"] = {"secret_ref": fields["secret"]}
    what = fields["collection"] or fields["benchmark"]
    body: dict[str, Any] = {"name": fields["name"] or f"{what} · {fields['model']}", "model": model}
    if tags := [tag for part in fields["tags"].split(",") if (tag := part.strip())]:
        body["tags"] = tags
    if fields["experiment"]:
        body["experiment"] = {"name": fields["experiment"]}
    if fields["collection"]:
        body["collection"] = {"id": fields["collection"]}
    elif fields["benchmark"]:
        member = {"id": fields["benchmark"], "provider_id": fields["provider"]}
        body["benchmarks"] = [{**member, "parameters": parameters} if parameters else member]
    else:
        faults.append(FieldError("collection", "choose a collection, or a provider and its benchmark"))
    return Draft(fields, body, parameters, tuple(faults))


async def _expanded(draft: Draft, request: ApiRequest, services: Services) -> Draft:
    """The draft with parameters repeated for each member of its collection, which is how a request overrides them."""
    collection_id = draft.fields["collection"]
    if not collection_id or not draft.parameters:
        return draft
    try:
        record = await services.resources.get_collection(collection_id, request.identity)
    except ApiError as error:
        return msgspec.structs.replace(draft, faults=(*draft.faults, FieldError("collection", error.message)))
    members = [
        {"id": each.id, "provider_id": each.provider_id, "parameters": draft.parameters}
        for each in record.config.benchmarks
    ]
    body = {**draft.request, "collection": {"id": collection_id, "benchmarks": members}}
    return msgspec.structs.replace(draft, request=body)


async def _form(
    request: ApiRequest, services: Services, query: PageQuery, draft: Draft, check: JobCheck | None = None
) -> RawResponse:
    """The form with the fields of a draft and, after a check, its result. Refused drafts have the status 400."""
    scope = request.identity.scope
    collections = await services.resources.list(
        ResourceQuery(kind=Kind.COLLECTION, tenant=scope, limit=200, sort="catalog")
    )
    recent = await services.jobs.list(JobQuery(tenant=scope, limit=RECENT))
    models = {
        (job.request.model.name, job.request.model.url): None for job in recent.items if job.request.model
    }
    faults = [*draft.faults, *(check.errors if check is not None else ())]
    values = {
        "fields": draft.fields,
        "faults": _by_field(faults),
        "collections": [record.id for record in collections.items],
        "models": sorted({name for name, _ in models if name}),
        # A URL with credentials is neither shown nor of use without them.
        "urls": sorted({url for _, url in models if url and redacted_text(url) == url}),
        "check": check,
        "key": new_key(),
        "commands": _commands(draft, request.app.state.viewer.address(request) + url_prefix(request.scope)),
    }
    data = {
        "fields": {name: redacted_text(text) for name, text in draft.fields.items()},
        "request": redacted(draft.request),
        "faults": faults if query.given_values else [],
        "check": check,
    }
    title = f"Run {draft.fields['collection'] or draft.fields['benchmark']}".strip()
    page = Page(name="run", title=title, section="/ui/catalog", values=values, data=data)
    response = await page_response(request, query, page)
    refused = request.method == "POST" and bool(faults)
    return msgspec.structs.replace(response, status=400) if refused else response


_FIELD_OF_PATH = {
    "model.url": "url",
    "model.name": "model",
    "model.auth": "secret",
    "experiment.name": "experiment",
}


def _by_field(faults: Sequence[FieldError]) -> dict[str, list[str]]:
    """The messages by the field of the form that they are about; empty for the whole request."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        path = fault.path
        field = path if path in FIELDS else _FIELD_OF_PATH.get(path, "")
        if not field:
            field = next(
                (name for name in FIELDS if path.startswith((f"{name}.", f"{name}s[", f"{name}["))), ""
            )
        found.setdefault(field, []).append(fault.message if field or not path else f"{path}: {fault.message}")
    return found


def _commands(draft: Draft, url: str) -> dict[str, str]:
    """The same job by the command line, by the API and by the Python client. Of credentials they have only the name of a secret."""
    fields, request = draft.fields, redacted(draft.request)
    body = shlex.quote(msgspec.json.encode(request).decode())
    commands = {
        "curl": f"curl {url}/api/v1/evaluations/jobs -H 'Content-Type: application/json' -d {body}",
        "Python": PYTHON.format(url=url, request=pformat(request, sort_dicts=False, width=100)),
    }
    # The command line takes the credentials of a model from a file only.
    return commands if fields["secret"] else {"Command line": _command_line(draft, url), **commands}


PYTHON = """from evalhub_server.client import Client

job = Client({url!r}).jobs.create(
{request}
)
print(job["resource"]["id"])"""


def _command_line(draft: Draft, url: str) -> str:
    fields, parameters = draft.fields, redacted(dict(draft.parameters))
    command = ["eval-hub-server", "run", "--model-url", fields["url"], "--model-name", fields["model"]]
    if fields["collection"]:
        command += ["--collection", fields["collection"]]
    else:
        command += ["--benchmark", f"{fields['provider']}/{fields['benchmark']}"]
    if fields["limit"]:
        command += ["--num-examples", fields["limit"]]
    for name, value in parameters.items():
        if name != "num_examples" or not fields["limit"]:
            command += ["--param", f"{name}={msgspec.json.encode(value).decode()}"]
    command += ["--name", draft.request["name"]]
    for tag in draft.request.get("tags", ()):
        command += ["--tag", tag]
    if fields["experiment"]:
        command += ["--experiment", fields["experiment"]]
    return shlex.join([*command, "--server", url])
