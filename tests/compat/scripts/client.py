"""Runs in the SDK's interpreter: calls the client methods that lines of JSON on standard input name.

``client.py SyncEvalHubClient|AsyncEvalHubClient URL``. A line is ``[number, method, arguments, named arguments]``, the
answer ``{"call": number, "returned": …}`` or ``{"call": number, "raised": class, "text": …, "facts": …}``.
"""

import asyncio
import inspect
import json
import sys
from functools import reduce

import evalhub.client
import httpx
from evalhub.client.job_logs import JobLogOptions, JobLogUpdate
from evalhub.models import EvaluationJob, JobStatus, JobSubmissionRequest
from pydantic import BaseModel

RICHER = {"status": JobStatus, "options": lambda fields: JobLogOptions(**fields)}


def plain(value):
    if isinstance(value, EvaluationJob):
        return {**value.model_dump(mode="json"), "effective_state": value.effective_state}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, JobLogUpdate):
        return {"logs": value.logs, "state": value.job.effective_state}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def facts(error):
    if isinstance(error, httpx.HTTPStatusError):
        return {"status": error.response.status_code, "body": error.response.json()}
    return {name: value for name, value in vars(error).items() if isinstance(value, str)}


async def called(function, arguments, named):
    outcome = function(*arguments, **named)
    if inspect.isasyncgen(outcome):
        return [item async for item in outcome]
    if inspect.isgenerator(outcome):
        return list(outcome)
    return await outcome if inspect.isawaitable(outcome) else outcome


async def main(kind, url):
    client = getattr(evalhub.client, kind)(base_url=url)
    for line in sys.stdin:
        number, method, arguments, named = json.loads(line)
        named = {name: RICHER.get(name, lambda same: same)(value) for name, value in named.items()}
        if method == "jobs.submit":
            arguments = [JobSubmissionRequest(**arguments[0])]
        try:
            returned = await called(reduce(getattr, method.split("."), client), arguments, named)
            answer = {"returned": plain(returned)}
        except Exception as error:  # noqa: BLE001  the test judges it
            answer = {"raised": type(error).__name__, "text": str(error), "facts": facts(error)}
        sys.stdout.write(json.dumps({"call": number, **answer}) + "\n")
        sys.stdout.flush()
    closed = client.close()
    if inspect.isawaitable(closed):
        await closed


asyncio.run(main(*sys.argv[1:]))
