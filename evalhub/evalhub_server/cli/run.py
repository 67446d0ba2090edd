"""``eval-hub-server run`` and ``rerun``: submit jobs, follow them, and report their results."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from evalhub_server.cli.client_command import INTERRUPTED
from evalhub_server.cli.run_request import RunOptions, job_requests, read_matrix
from evalhub_server.cli.run_requirements import requirement_notes
from evalhub_server.cli.run_view import LiveView, PlainView, RunView
from evalhub_server.cli.server_choice import Terminated, open_client
from evalhub_server.cli.show import benchmark_rows, score_text
from evalhub_server.cli.tables import print_json, print_lines, print_table
from evalhub_server.client import Client, ClientError, Job, ResponseError
from evalhub_server.client.resources import Json, is_terminal
from evalhub_server.console_log import escaped

REDRAW_S = 1.0


def run(
    server: str | None, options: RunOptions, *, wait: bool, on_interrupt: str | None, as_json: bool
) -> int:
    """Run a matrix; returns the exit status."""
    matrix = read_matrix(options)
    with open_client(server, _say) as client:
        requests = job_requests(matrix, client)
        for note in requirement_notes(client, requests):
            _say(f"Note: {note}")
        return _Run(client, wait=wait, on_interrupt=on_interrupt, as_json=as_json).run(requests)


def rerun(
    server: str | None, job_id: str, only: Any, *, wait: bool, on_interrupt: str | None, as_json: bool
) -> int:
    """Repeat benchmarks of a job; returns the exit status."""
    with open_client(server, _say) as client:
        job = client.jobs.rerun(job_id, only)
        return _Run(client, wait=wait, on_interrupt=on_interrupt, as_json=as_json).finish([job])


def _say(text: str) -> None:
    sys.stderr.write(escaped(text) + "\n")


class _Run:
    """Jobs of one command."""

    def __init__(self, client: Client, *, wait: bool, on_interrupt: str | None, as_json: bool) -> None:
        self._client = client
        self._wait = wait
        self._as_json = as_json
        asks = sys.stdin.isatty() and sys.stderr.isatty()
        self._on_interrupt = on_interrupt or ("ask" if asks else "detach")
        self._jobs: dict[str, Job] = {}

    def run(self, requests: Sequence[Json]) -> int:
        """Submit jobs and finish."""
        try:
            for request in requests:
                job = self._client.jobs.create(request)
                self._jobs[job["resource"]["id"]] = job
        except BaseException:
            self._cancel()  # half a matrix is of no use
            raise
        return self.finish(list(self._jobs.values()))

    def finish(self, jobs: Sequence[Job]) -> int:
        """Follow jobs if that is wanted, and print them; returns the exit status."""
        self._jobs = {job["resource"]["id"]: job for job in jobs}
        if not self._wait:
            if self._as_json:
                print_json(jobs)
            else:
                print_lines(
                    f"Job {job_id} ({job['model']['name']}) is submitted"
                    for job_id, job in self._jobs.items()
                )
            return 0
        if not self._as_json:
            print_lines(f"Job {job_id}: {job['model']['name']}" for job_id, job in self._jobs.items())
        interrupted = self._follow()
        if self._as_json:
            print_json(list(self._jobs.values()))
        else:
            self._print_results()
        if interrupted:
            return INTERRUPTED
        states = {job["status"]["state"] for job in self._jobs.values()}
        if states & {"failed", "partially_failed"}:
            return 1
        return 0 if states == {"completed"} else INTERRUPTED

    def _follow(self) -> bool:
        """Display the jobs until all have ended; True if they were cancelled or detached before.

        Raises :class:`ClientError` if the server is unavailable for too long.
        """
        updates: queue.SimpleQueue[Job | ClientError] = queue.SimpleQueue()
        for job_id in self._jobs:
            threading.Thread(
                target=_follow_job, args=(self._client, job_id, updates), name=f"follow-{job_id}", daemon=True
            ).start()
        view = self._view()
        while True:
            try:
                with view:
                    self._display(view, updates)
                return False
            except Terminated:
                action = self._on_interrupt if self._on_interrupt != "ask" else "detach"
            except KeyboardInterrupt:
                action = self._on_interrupt if self._on_interrupt != "ask" else _ask()
            if action == "cancel":
                self._cancel()
                self._jobs = {job_id: self._client.jobs.get(job_id) for job_id in self._jobs}
                return True
            if action == "detach":
                _say(
                    f"Detached; the jobs go on. Follow one with: eval-hub-server logs -f {_one_of(self._jobs)}"
                )
                return True

    def _display(self, view: RunView, updates: queue.SimpleQueue[Job | ClientError]) -> None:
        view.update(self._jobs)
        while not all(map(is_terminal, self._jobs.values())):
            try:
                update = updates.get(timeout=REDRAW_S)
            except queue.Empty:
                pass  # the remaining time has changed
            else:
                if isinstance(update, ClientError):
                    raise update
                self._jobs[update["resource"]["id"]] = update
            view.update(self._jobs)

    def _view(self) -> RunView:
        if self._as_json:
            return RunView()
        return LiveView() if sys.stdout.isatty() else PlainView()

    def _cancel(self) -> None:
        for job_id, job in self._jobs.items():
            if not is_terminal(job):
                try:
                    self._client.jobs.cancel(job_id)
                except ResponseError as error:
                    if error.status != 409:  # it has ended meanwhile
                        raise

    def _print_results(self) -> None:
        several = len(self._jobs) > 1
        rows = [
            (job["model"]["name"], *cells[1:]) if several else cells[1:]
            for job in self._jobs.values()
            for cells in benchmark_rows(job)
        ]
        headers = ("Benchmark", "State", "Score", "Metrics")
        print_table(("Model", *headers) if several else headers, rows)
        print_lines(_summaries(self._jobs))


def _one_of(jobs: Mapping[str, Job]) -> str:
    """The job of a command that is suggested: its id, or ``JOB`` if there are several."""
    return next(iter(jobs)) if len(jobs) == 1 else "JOB"


def _summaries(jobs: Mapping[str, Job]) -> Iterable[str]:
    for job in jobs.values():
        score = score_text(job.get("results", {}).get("test"))
        text = f"Job {job['resource']['id']} is {job['status']['state']}"
        yield f"{text}; score {score}" if score else text
    yield f"Show {'it' if len(jobs) == 1 else 'one'} again with: eval-hub-server show {_one_of(jobs)}"


def _follow_job(client: Client, job_id: str, updates: queue.SimpleQueue[Job | ClientError]) -> None:
    """Thread that passes on each change of a job."""
    try:
        for job in client.jobs.follow(job_id):
            updates.put(job)
    except ClientError as error:
        updates.put(error)


def _ask() -> str:
    """What to do about an interrupt; a second one detaches."""
    try:
        answer = click.prompt(
            "\nCancel the jobs (c), detach and let them run (d), or go on waiting (w)?",
            type=click.Choice(("c", "d", "w")),
            default="w",
            show_choices=False,
            err=True,
        )
    except click.Abort:
        return "detach"
    return {"c": "cancel", "d": "detach"}.get(answer, "wait")
