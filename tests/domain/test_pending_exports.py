"""What changes of a job owe to trackers and exporters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from evalhub_server.domain import transitions
from evalhub_server.domain.job_view import job_resource
from evalhub_server.domain.outbox import (
    PendingExport,
    attempt_failed,
    delivered,
    has_new_outcome,
    next_pending,
    retried,
    with_pending_exports,
    with_recheck,
    without_pending_exports,
)
from evalhub_server.domain.record import Exit, ExportOutcome, JobRecord, OutboxEntry, with_changes
from evalhub_server.models.common import State
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.testing.builders import a_job

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CARD = PendingExport(kind="exporter", name="oci", event="card")
RUN = PendingExport(kind="tracker", name="mlflow", event="run")


def report(job: JobRecord, status: str, index: int = 0) -> JobRecord:
    event = BenchmarkEvent(
        provider_id="provider-a", id=f"bench-{index}", benchmark_index=index, status=status
    )
    return transitions.apply_event(job, event, NOW)


def owed_by(job: JobRecord, debt: PendingExport = CARD) -> OutboxEntry:
    owed = next_pending(job, debt.kind, debt.name)
    assert owed is not None
    return owed


def test_an_outcome_is_new_when_the_job_ends_and_not_before() -> None:
    job = a_job(size=2)
    first = report(job, "completed", 0)
    second = report(first, "completed", 1)
    assert not has_new_outcome(None, job)
    assert not has_new_outcome(job, first)
    assert has_new_outcome(first, second)
    assert has_new_outcome(first, transitions.cancel(first, NOW))


def test_the_end_of_the_process_after_the_result_is_no_new_outcome() -> None:
    job = transitions.launched(
        transitions.launch_intended(a_job(), 0, NOW, runtime="local"), 0, {"pid": 1}, runtime="local"
    )
    done = report(job, "completed")
    assert not has_new_outcome(done, transitions.exited(done, 0, Exit(code=0), "", NOW))


def test_a_result_that_replaces_a_provisional_failure_is_a_new_outcome() -> None:
    job = a_job()
    failed = transitions.exited(job, 0, Exit(code=1), "", NOW)
    completed = report(failed, "completed")
    assert has_new_outcome(job, failed)
    assert has_new_outcome(failed, completed)
    assert has_new_outcome(failed, report(failed, "failed"))


def test_debts_are_paid_in_the_order_in_which_they_came_up() -> None:
    job = with_pending_exports(a_job(updated_at=NOW), [replace(CARD, event="first")])
    job = with_pending_exports(
        with_changes(job, updated_at=NOW + timedelta(seconds=1)), [replace(CARD, event="second"), RUN]
    )
    assert owed_by(job).event == "first"
    assert owed_by(job, RUN).event == "run"
    job = delivered(job, owed_by(job), ExportOutcome())
    assert owed_by(job).event == "second"
    assert job.open


def test_nothing_owed_is_nothing_changed() -> None:
    job = a_job()
    assert with_pending_exports(job, []) is job
    assert without_pending_exports(job) is job


def test_a_success_is_noted_with_where_the_export_is_and_leaves_the_time_of_the_last_update() -> None:
    job = with_pending_exports(a_job(state=State.COMPLETED), [CARD])
    assert job.open
    done = delivered(job, owed_by(job), ExportOutcome(reference="r", digest="d"))
    assert not done.open
    (export,) = done.progress.outbox
    assert (export.state, export.attempts, export.outcome) == (
        "succeeded",
        1,
        ExportOutcome(reference="r", digest="d"),
    )
    assert done.progress.updated_at == job.progress.updated_at


def test_a_success_after_an_attempt_that_was_cut_short_is_rechecked() -> None:
    job = with_pending_exports(a_job(state=State.COMPLETED), [CARD, RUN])
    done = delivered(
        delivered(job, owed_by(job), ExportOutcome(), recheck=True), owed_by(job, RUN), ExportOutcome()
    )
    card, run = done.progress.outbox
    assert (card.due_for_recheck, run.due_for_recheck, done.open) == (True, False, True)
    again = with_pending_exports(done, [CARD])
    assert not owed_by(again).due_for_recheck, "not before its success"
    assert delivered(again, owed_by(again), ExportOutcome()).progress.outbox[0].due_for_recheck
    assert delivered(again, card, ExportOutcome(), recheck=True).progress.outbox[0].recheck
    checked = with_recheck(done, {card.key}, recheck=False)
    assert (checked.progress.outbox[0].recheck, checked.open) == (False, False)
    assert with_recheck(checked, {card.key}, recheck=False) is checked


def test_a_failure_is_tried_again_until_it_is_final() -> None:
    job = with_pending_exports(a_job(state=State.COMPLETED), [CARD])
    once = attempt_failed(job, owed_by(job), "down", NOW, final=False)
    assert (owed_by(once).attempts, owed_by(once).error) == (1, "down")
    twice = attempt_failed(once, owed_by(once), "not allowed", NOW, final=True)
    assert next_pending(twice, "exporter", "oci") is None
    assert (twice.progress.outbox[0].state, twice.progress.outbox[0].error) == ("failed", "not allowed")


def test_an_entry_that_is_added_during_an_attempt_stays_pending() -> None:
    job = with_pending_exports(a_job(state=State.COMPLETED), [CARD])
    under_way = owed_by(job)
    again = with_pending_exports(job, [CARD])
    assert attempt_failed(again, under_way, "late", NOW, final=True) is again
    after = delivered(again, under_way, ExportOutcome(reference="r"))
    assert owed_by(after).revision == 2
    assert owed_by(after).outcome == ExportOutcome(reference="r")
    assert (
        with_pending_exports(delivered(after, owed_by(after), ExportOutcome()), [CARD])
        .progress.outbox[0]
        .revision
        == 3
    )


def test_the_outcome_of_an_attempt_on_a_forgotten_debt_changes_nothing() -> None:
    job = with_pending_exports(a_job(state=State.COMPLETED), [CARD])
    forgotten = without_pending_exports(job)
    assert forgotten.progress.outbox == ()
    assert delivered(forgotten, owed_by(job), ExportOutcome()) is forgotten


def test_clients_see_what_became_of_what_they_asked_for_once_the_job_has_ended() -> None:
    hidden = PendingExport(kind="exporter", name="hook", event="created", requested=False)
    job = with_pending_exports(a_job(), [hidden, CARD])
    assert job_resource(job).results.exports == ()
    ended = attempt_failed(with_changes(job, state=State.COMPLETED), owed_by(job), "down", NOW, final=False)
    (shown,) = job_resource(ended).results.exports
    assert (shown.kind, shown.name, shown.state, shown.error) == ("exporter", "oci", "pending", "down")


def test_a_retry_makes_failed_exports_pending_with_all_their_attempts() -> None:
    job = with_pending_exports(with_changes(a_job(), state=State.COMPLETED), [CARD, RUN])
    job = attempt_failed(job, owed_by(job), "down", NOW, final=True)
    job = attempt_failed(job, owed_by(job, RUN), "down", NOW, final=False)
    card, run = job.progress.outbox
    assert (card.state, card.failing_since, run.state, run.attempts) == ("failed", NOW, "pending", 1)
    again = retried(job, lambda kind, name: True)
    assert [(e.state, e.attempts, e.failing_since, e.revision) for e in again.progress.outbox] == [
        ("pending", 0, None, 1)
    ] * 2
    assert again.progress.updated_at == job.progress.updated_at
    assert retried(again, lambda kind, name: True) is again


def test_a_retry_leaves_what_succeeded_and_what_cannot_be_delivered() -> None:
    job = with_pending_exports(with_changes(a_job(), state=State.COMPLETED), [CARD, RUN])
    job = delivered(job, owed_by(job), ExportOutcome(reference="r"))
    job = attempt_failed(job, owed_by(job, RUN), "down", NOW, final=True)
    assert retried(job, lambda kind, name: kind == "exporter") is job
