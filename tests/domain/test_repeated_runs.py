"""Several runs of a benchmark as one."""

from __future__ import annotations

from evalhub_server.domain.repeated_runs import merged_runs
from evalhub_server.domain.statistics.columns import prepare
from evalhub_server.domain.statistics.inputs import CompareOptions
from harness.evaluation_runs import a_run


def test_the_answers_to_a_sample_are_averaged_over_runs_first() -> None:
    first = a_run([1.0, 0.0, 1.0], reported_value=0.5, reported_stderr=0.1, n_expected=3)
    twice = a_run(
        [0.0, 0.0, 1.0, 0.0],
        ids=["s0000", "s0000", "s0001", "s0001"],
        epochs=[0, 1, 0, 1],
        reported_value=0.25,
    )
    merged = merged_runs([first, twice])
    prepared = prepare(merged, CompareOptions())
    assert dict(zip(prepared.ids, prepared.values, strict=True)) == {
        "s0000": 1 / 3,
        "s0001": 1 / 3,
        "s0002": 1.0,
    }
    assert prepared.problems == ()
    assert (merged.header.reported_value, merged.header.reported_stderr, merged.header.n_expected) == (
        0.375,
        None,
        3,
    )
    assert merged_runs([first]) is first


def test_a_run_without_samples_leaves_none() -> None:
    assert merged_runs([a_run([1.0]), a_run(None)]).items is None


def test_a_missing_score_stays_missing() -> None:
    merged = merged_runs([a_run([1.0, None]), a_run([1.0, 0.0], statuses=["ok", "model_error"])])
    assert merged.items is not None
    assert merged.items.statuses == ["ok", "missing", "ok", "model_error"]


def test_samples_whose_content_differs_between_runs_are_a_fault() -> None:
    runs = [a_run([1.0, 0.0], key_hashes=["x", each]) for each in ("y", "z")]
    (fault,) = merged_runs(runs).problems
    assert (fault.code, "1 samples" in fault.message) == ("other_prompts", True)
    assert merged_runs([runs[0], runs[0]]).problems == ()
