"""The data that the tests of pages rely on: every state is there, and hostile texts arrive as they were sent."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from harness.running import call
from harness.scheduling import scope_of
from harness.server import API
from harness.viewer_data import ViewerServer
from harness.viewer_data.hostile import HOSTILE_TEXTS, storable
from harness.viewer_data.server import PAST_JOBS
from harness.viewer_data.suite import BIG_COUNT, MODELS


def states(viewer: ViewerServer, job_id: str) -> list[str]:
    return [each["status"] for each in viewer.job(job_id)["status"]["benchmarks"]]


def samples(viewer: ViewerServer, job_id: str, index: int, **query: Any) -> dict[str, Any]:
    return viewer.get(f"{API}/jobs/{job_id}/benchmarks/{index}/samples?{urlencode(query)}")


def test_jobs_are_in_every_state(viewer: ViewerServer):
    alpha, _beta, gamma = (viewer.jobs.suites[model] for model in MODELS)
    assert states(viewer, alpha) == ["completed"] * 6
    assert states(viewer, gamma) == ["completed"] * 3 + ["failed"] + ["completed"] * 2
    assert states(viewer, viewer.jobs.running) == ["completed", "completed", "running"] + ["pending"] * 3
    assert states(viewer, viewer.jobs.queued) == ["pending"] * 6
    error = viewer.job(gamma)["status"]["benchmarks"][3]["error_message"]
    assert error["message_code"] == "adapter_failed"
    assert "sandbox.BackendTimeout" in error["message"]
    counts = {
        state: viewer.get(f"{API}/jobs?status={state}&limit=1")["total_count"]
        for state in ("completed", "failed", "cancelled", "partially_failed")
    }
    assert sum(counts.values()) > PAST_JOBS
    assert min(counts.values()) > 0


def test_two_runs_are_comparable_with_regressions(viewer: ViewerServer):
    query = urlencode(
        {"baseline": viewer.jobs.suites["alpha-7b"], "candidate": viewer.jobs.suites["beta-13b"]}
    )
    (candidate,) = viewer.get(f"{API}/comparisons?{query}")["candidates"]
    found = {each["name"]: each for each in candidate["comparison"]["benchmarks"]}
    assert found["core/big_suite"]["verdict"] == "worse"
    assert found["core/big_suite"]["n_matched"] == BIG_COUNT - 6
    assert found["core/big_suite"]["flips"]["broken"] > 100
    assert found["core/toxicity"]["verdict"] == "better"
    assert found["core/arithmetic"]["verdict"] == "inconclusive"


def test_hostile_texts_are_stored_as_they_were_sent(viewer: ViewerServer):
    page = samples(viewer, viewer.jobs.hostile, 0, limit=100)
    ids = {each["sample_id"] for each in page["items"]}
    texts = {storable(text)[:200] for name, text in HOSTILE_TEXTS.items() if name not in ("nul", "surrogate")}
    assert ids == texts | {"stack", "deep"}
    assert [
        each["reason"][:21]
        for each in viewer.job(viewer.jobs.hostile)["status"]["benchmarks"][0]["samples"]["problems"]
    ] == [
        "sample_id contains a ",
        "not valid JSON: JSON ",
    ]
    assert "\x1b]8;;" in viewer.job(viewer.jobs.hostile)["name"]
    log = call(viewer.port, "GET", f"{API}/jobs/{viewer.jobs.hostile}/logs").body
    assert b"\x1b[31mred" in log
    assert b"bytes \xff\xfe\x80" in log


def test_files_that_share_the_server_run_in_one_process():
    assert (
        scope_of("tests/viewer/test_viewer_data.py")
        == scope_of("tests/viewer/test_jobs_page.py")
        == "tests/viewer"
    )
    assert scope_of("tests/viewer/test_word_diff.py") == "tests/viewer/test_word_diff.py"
    assert scope_of("tests/cli/test_check.py") == "tests/cli/test_check.py"
