"""A server with the routes of the released Go server 1.0.2, as far as the command line uses them, and with nothing else."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.answering import Reply, Request

API = "/api/v1/evaluations"
JOB_PARAMETERS = ("limit", "offset", "status", "name", "tags", "owner", "experiment_id")
JSON = {"Content-Type": "application/json"}


def reply(document: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode() + b"\n", JSON)


def error(status: int, code: str, message: str) -> Reply:
    return reply({"message_code": code, "message": message, "trace": "t"}, status)


NO_ROUTE = Reply(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})


class ReleasedServer:
    """The answers, for an ``AnsweringServer``. A job runs until it has been read ``reads`` times."""

    def __init__(self, reads: int = 3) -> None:
        self._reads = reads
        self.jobs: dict[str, dict[str, Any]] = {}

    def __call__(self, request: Request) -> Reply:
        url = urlsplit(request.path)
        parts = url.path.removeprefix(f"{API}/").split("/")
        match (request.method, parts):
            case ("GET", ["", "api", "v1", "health"]):
                return reply({"status": "healthy", "timestamp": "2026-01-01T00:00:00Z"})
            case ("POST", ["jobs"]):
                return self._create(request.document)
            case ("GET", ["jobs"]):
                return self._list(parse_qs(url.query))
            case ("GET", ["jobs", job_id]):
                return self._get(job_id)
            case ("GET", ["jobs", _, "logs"]):
                return self._log("=== pod=p container=local benchmark_id=b ===\nfirst\n")
            case ("GET", ["jobs", job_id, "benchmarks", "0", "logs"]):
                done = self.jobs[job_id]["reads"] >= self._reads
                return self._log("first\nsecond\n" if done else "first\n")
            case _:
                return NO_ROUTE

    def _create(self, body: dict[str, Any]) -> Reply:
        job_id = f"job-{len(self.jobs)}"
        self.jobs[job_id] = {
            **body,
            "resource": {"id": job_id, "created_at": "2026-01-01T00:00:00Z"},
            "reads": 0,
        }
        return reply(self._resource(self.jobs[job_id]), 202)

    def _get(self, job_id: str) -> Reply:
        job = self.jobs.get(job_id)
        if job is None:
            return error(404, "resource_not_found", f"The evaluation job resource '{job_id}' was not found.")
        job["reads"] += 1
        return reply(self._resource(job))

    def _list(self, query: dict[str, list[str]]) -> Reply:
        for name in query:
            if name not in JOB_PARAMETERS:
                text = (
                    f"parameter '{name}' is not a valid query parameter, allowed: {', '.join(JOB_PARAMETERS)}"
                )
                return error(400, "query_bad_parameter", text)
        items = [self._resource(job) for job in self.jobs.values()]
        return reply({"first": {"href": "/"}, "limit": 50, "total_count": len(items), "items": items})

    def _resource(self, job: dict[str, Any]) -> dict[str, Any]:
        done = job["reads"] >= self._reads
        state = "completed" if done else "running" if job["reads"] else "pending"
        status: dict[str, Any] = {"state": state, "message": {"message": state, "message_code": state}}
        results: dict[str, Any] = {}
        if job["reads"]:  # a benchmark has no status before its first event
            status["benchmarks"] = [{"id": "b", "provider_id": "p", "benchmark_index": 0, "status": state}]
        if done:
            metrics = {"accuracy": 0.5}
            results["benchmarks"] = [
                {"id": "b", "provider_id": "p", "benchmark_index": 0, "metrics": metrics}
            ]
        return {
            **{key: value for key, value in job.items() if key != "reads"},
            "status": status,
            "results": results,
        }

    def _log(self, text: str) -> Reply:
        return Reply(200, [text.encode()], {"Content-Type": "text/plain; charset=utf-8"})
