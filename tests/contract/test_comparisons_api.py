"""Comparisons, leaderboards and baselines over HTTP: three models, four benchmarks, with known differences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from evalhub_server.domain.comparison_view import JobComparison, JobLeaderboard, JobScores
from evalhub_server.domain.statistics.gate import evaluate_gate
from evalhub_server.domain.statistics.policy import GateBenchmark, GatePolicy
from harness import Config, RunningServer
from harness.matrix import PROVIDER, answers, matrix_config, record
from harness.server import API

BENCHMARKS = ("clear", "noise", "prompts", "bare")
LIMITS = {"supervisor": {"exit_grace": "100ms"}}


def record_matrix(runs: Path) -> None:
    for model, fixed, broken in (("base", 0, 0), ("better", 40, 5), ("worse", 5, 40)):
        record(runs, model, "clear", answers(300, 100, flip_to_right=fixed, flip_to_wrong=broken))
        record(
            runs,
            model,
            "noise",
            answers(150, 50, flip_to_right=bool(fixed) * 5, flip_to_wrong=bool(broken) * 6),
        )
        record(
            runs,
            model,
            "prompts",
            answers(60, 40, flip_to_wrong=broken // 10),
            prompt="Another" if model == "better" else "Question",
        )
        record(runs, model, "bare", None, acc=0.5 + fixed / 1000, acc_stderr=0.02)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of recorded runs."""
    folder = tmp_path_factory.mktemp("matrix") / "runs"
    record_matrix(folder)
    return folder


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[RunningServer]:
    config = Config(runs.parent / "config", **LIMITS)
    matrix_config(config, runs, *BENCHMARKS, "late")
    with RunningServer(config.folder, data_dir=runs.parent / "data") as running:
        yield running


def run(server: RunningServer, model: str, *benchmarks: str, **fields: Any) -> str:
    model_ref = {"url": "http://localhost:9/v1", "name": model}
    return server.submit(*(benchmarks or BENCHMARKS), provider=PROVIDER, model=model_ref, **fields)


@pytest.fixture(scope="module")
def jobs(server: RunningServer) -> dict[str, str]:
    found = {model: run(server, model) for model in ("base", "better", "worse")}
    for job_id in found.values():
        server.finished(job_id)
    return found


def compare(server: RunningServer, baseline: str, candidate: str, **query: Any) -> dict[str, Any]:
    text = urlencode({"baseline": baseline, "candidate": candidate, **query})
    return server.get(f"{API}/comparisons?{text}")


def by_name(comparison: dict[str, Any]) -> dict[str, Any]:
    return {each["name"].removeprefix("matrix/"): each for each in comparison["benchmarks"]}


def mcnemar_mid_p(fixed: int, broken: int) -> float:
    """Two-sided mid-p of McNemar's test, independently of the implementation."""
    n, least = fixed + broken, min(fixed, broken)
    below = sum(math.comb(n, k) for k in range(least))
    return min(1.0, 2 * (below + math.comb(n, least) / 2) / 2**n)


def test_what_is_claimed_refused_and_left_open(server: RunningServer, jobs: dict[str, str]):
    answer = compare(server, jobs["base"], f"{jobs['better']},{jobs['worse']}")
    assert answer["baseline"]["job_id"] == jobs["base"]
    better, worse = (each["comparison"] for each in answer["candidates"])
    assert [each["job"]["model_name"] for each in answer["candidates"]] == ["better", "worse"]

    found = by_name(better)
    assert {name: each["verdict"] for name, each in found.items()} == {
        "clear": "better",
        "noise": "inconclusive",
        "prompts": "not_comparable",
        "bare": "inconclusive",
    }
    assert found["clear"]["paired"]
    assert (found["clear"]["n_matched"], found["clear"]["flips"]["fixed"]) == (400, 40)
    assert found["clear"]["flips"]["broken_ids"] == [f"q{number}" for number in range(5)]
    assert found["clear"]["difference"]["estimate"] == pytest.approx(35 / 400)
    assert found["clear"]["difference"]["p"] >= mcnemar_mid_p(40, 5)
    assert found["clear"]["difference"]["p"] < 1e-6
    assert found["clear"]["difference"]["p_adjusted"] == pytest.approx(4 * found["clear"]["difference"]["p"])
    assert found["noise"]["difference"]["p"] == pytest.approx(mcnemar_mid_p(5, 6), abs=0.15)
    assert found["prompts"]["reasons"][0]["code"] == "other_prompts"
    assert "difference" not in found["prompts"]
    assert not found["bare"]["paired"]
    assert "unpaired" in [each["code"] for each in found["bare"]["warnings"]]
    assert better["verdict"] == "incomplete"

    found = by_name(worse)
    assert {name: each["verdict"] for name, each in found.items()} == {
        "clear": "worse",
        "noise": "inconclusive",
        "prompts": "inconclusive",
        "bare": "inconclusive",
    }
    assert (worse["n_candidates"], worse["p_adjusted"] >= worse["difference"]["p"]) == (2, True)
    assert worse["verdict"] in ("worse", "inconclusive")


def test_a_margin_gives_verdicts_of_non_inferiority(server: RunningServer, jobs: dict[str, str]):
    answer = compare(server, jobs["base"], jobs["worse"], margin=0.15)
    found = by_name(answer["candidates"][0]["comparison"])
    assert "non_inferior" in found["noise"]["flags"]
    assert found["clear"]["verdict"] == "worse_within_margin"
    assert answer["options"]["margin"] == 0.15


def test_the_answer_is_input_of_a_gate(server: RunningServer, jobs: dict[str, str]):
    answer = compare(server, jobs["base"], jobs["worse"])
    decoded = msgspec.convert(answer, JobComparison)
    suite = decoded.candidates[0].comparison
    names = [GateBenchmark(provider_id="matrix", id=name) for name in ("clear", "noise")]
    result = evaluate_gate(GatePolicy(margin=0.05, benchmarks=tuple(names)), suite)
    assert (result.outcome, result.exit_code) == ("fail", 1)
    assert [each.outcome for each in result.benchmarks] == ["fail", "pass"]
    assert evaluate_gate(GatePolicy(margin=0.2, benchmarks=tuple(names)), suite).outcome == "pass"
    everything = evaluate_gate(GatePolicy(margin=0.2), suite)
    assert everything.outcome == "incomplete"  # no samples of one benchmark


def test_scores_have_intervals_and_are_input_of_a_gate(server: RunningServer, jobs: dict[str, str]):
    answer = msgspec.convert(server.get(f"{API}/jobs/{jobs['base']}/scores"), JobScores)
    scores = {each.name: each.summary for each in answer.scores}
    assert scores["matrix/clear"].value == 0.75
    assert scores["matrix/clear"].interval is not None
    assert scores["matrix/clear"].interval.method.lower().startswith("wilson")
    assert answer.missing == ()
    policy = GatePolicy(
        benchmarks=(GateBenchmark(provider_id="matrix", id="clear", threshold=0.7),), kind="threshold"
    )
    assert evaluate_gate(policy, None, answer.scores).outcome == "pass"


def test_a_score_that_its_samples_do_not_explain_has_no_verdict(
    server: RunningServer, jobs: dict[str, str], runs: Path
):
    record(runs, "odd", "clear", answers(390, 10), reported=0.5)
    odd = run(server, "odd", "clear")
    server.finished(odd)
    only = run(server, "base", "clear")
    server.finished(only)
    comparison = compare(server, only, odd)["candidates"][0]["comparison"]
    (benchmark,) = comparison["benchmarks"]
    assert benchmark["verdict"] == "incomplete"
    assert benchmark["reasons"][0]["code"] == "score_differs"
    assert benchmark["candidate"]["value"] == 0.5
    assert "interval" not in benchmark["candidate"]


def test_samples_that_are_still_written_are_awaited(server: RunningServer, jobs: dict[str, str], runs: Path):
    held = runs / "written"
    record(runs, "slow", "clear", answers(300, 100, flip_to_right=40), hold=held)
    base, slow = run(server, "base", "clear"), run(server, "slow", "clear")
    for job_id in (base, slow):
        server.finished(job_id)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(compare, server, base, slow)
        held.touch()
        (benchmark,) = answer.result(30)["candidates"][0]["comparison"]["benchmarks"]
    assert (benchmark["verdict"], benchmark["n_matched"]) == ("better", 400)


@pytest.mark.slow  # the wait is ten seconds long
def test_samples_that_do_not_come_leave_the_comparison_incomplete(
    server: RunningServer, jobs: dict[str, str], runs: Path
):
    held = runs / "never written"
    record(runs, "stuck", "clear", answers(300, 100, flip_to_right=40), hold=held)
    base, stuck = run(server, "base", "clear"), run(server, "stuck", "clear")
    for job_id in (base, stuck):
        server.finished(job_id)
    (benchmark,) = compare(server, base, stuck)["candidates"][0]["comparison"]["benchmarks"]
    assert benchmark["verdict"] == "incomplete"
    assert "samples_pending" in [each["code"] for each in benchmark["reasons"]]
    held.touch()


def test_a_rerun_completes_the_comparison_of_both_jobs(
    server: RunningServer, jobs: dict[str, str], runs: Path
):
    record(runs, "late", "clear", answers(300, 100, flip_to_right=40))
    late = run(server, "late", "clear", "late")
    base = run(server, "base", "clear", "late")
    assert server.finished(late)["status"]["state"] == "partially_failed"
    server.finished(base)
    first = compare(server, base, late)["candidates"][0]["comparison"]
    assert by_name(first)["late"]["verdict"] == "incomplete"
    for model in ("base", "late"):
        record(runs, model, "late", answers(50, 50))
    again = {}
    for job_id in (base, late):
        answer = server.call("POST", f"{API}/jobs/{job_id}/reruns", {"only": "failed"})
        assert answer.status == 202
        again[job_id] = answer.body["resource"]["id"]
        server.finished(again[job_id])
    for one, two in ((base, late), (again[base], again[late]), (base, again[late])):
        answer = compare(server, one, two)
        found = by_name(answer["candidates"][0]["comparison"])
        assert found["clear"]["verdict"] == "better"
        assert found["late"]["n_matched"] == 100
        assert set(answer["candidates"][0]["job"]["sources"]) == {late, again[late]}


def test_a_leaderboard_ranks_the_models_of_a_collection(server: RunningServer, runs: Path):
    for model in ("base", "better", "worse"):
        record(runs, model, "late", answers(50, 50))
    missing = server.get(f"{API}/leaderboards/suite")
    assert missing["entries"] == []
    newest = {}
    for model in ("base", "better", "worse", "base", "incomplete"):
        body = {
            "name": model,
            "model": {"url": "http://localhost:9/v1", "name": model},
            "collection": {"id": "suite"},
        }
        answer = server.call("POST", f"{API}/jobs", body)
        assert answer.status == 202, answer.body
        newest[model] = answer.body["resource"]["id"]
        server.finished(newest[model])
    answer = server.get(f"{API}/leaderboards/suite")
    decoded = msgspec.convert(answer, JobLeaderboard)
    assert {each.model: each.job.job_id for each in decoded.entries} == {
        model: job_id for model, job_id in newest.items() if model != "incomplete"
    }
    assert [each.model for each in decoded.left_out] == ["incomplete"]
    clear = next(each for each in decoded.leaderboard.benchmarks if each.name == "matrix/clear")
    assert [each.model for each in clear.ranks] == ["better", "base", "worse"]
    assert [(each.best_rank, each.worst_rank) for each in clear.ranks] == [(1, 1), (2, 2), (3, 3)]
    late = next(each for each in decoded.leaderboard.benchmarks if each.name == "matrix/late")
    assert all(each.tied_with_best for each in late.ranks)
    assert all(each.interval is not None for each in late.ranks)

    ids = ",".join(newest[model] for model in ("base", "better"))
    some = server.get(f"{API}/leaderboards?jobs={ids}&metric=acc")
    assert [each["model"] for each in some["entries"]] == ["base", "better"]
    assert (answer["runs"], answer["all_benchmarks"], answer["incomplete"]) == ("latest", 5, 1)


def board(server: RunningServer, **query: Any) -> dict[str, Any]:
    return server.get(f"{API}/leaderboards/suite?{urlencode(query)}")


def run_suite(server: RunningServer, model: str, **parameters: Any) -> str:
    body = {
        "name": model,
        "model": {"url": "http://localhost:9/v1", "name": model, "parameters": parameters},
        "collection": {"id": "suite"},
    }
    job_id = server.call("POST", f"{API}/jobs", body).body["resource"]["id"]
    server.finished(job_id)
    return job_id


@pytest.fixture(scope="module")
def suites(server: RunningServer, runs: Path) -> dict[str, list[str]]:
    """Runs of the collection by model, oldest first: the second one of ``repeated`` is better, the third has another temperature."""
    found: dict[str, list[str]] = {"repeated": [], "single": []}
    for model, fixed, parameters in (
        ("single", 0, {}),
        ("repeated", 0, {}),
        ("repeated", 40, {}),
        ("repeated", 0, {"temperature": 0.7}),
        ("repeated", 20, {}),
    ):
        record(runs, model, "clear", answers(300, 100, flip_to_right=fixed))
        for name in ("noise", "prompts", "late"):
            record(runs, model, name, answers(60, 40))
        record(runs, model, "bare", None, acc=0.5)
        found[model].append(run_suite(server, model, **parameters))
    record(runs, "partial", "clear", answers(300, 100))
    run_suite(server, "partial")
    return found


def test_a_model_is_ranked_by_its_newest_its_best_or_the_mean_of_its_runs(
    server: RunningServer, suites: dict[str, list[str]]
):
    def ranked(**query: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        answer = board(server, model="single|repeated", bench="matrix/clear", **query)
        entry = next(each for each in answer["entries"] if each["model"] == "repeated")
        (ranking,) = answer["leaderboard"]["benchmarks"]
        return entry, next(each for each in ranking["ranks"] if each["model"] == "repeated")

    latest, rank = ranked()
    assert (latest["job"]["job_id"], latest["complete_runs"]) == (suites["repeated"][3], 4)
    assert (latest["score"], rank["score"]) == (0.8, 0.8)
    best, rank = ranked(runs="best")
    assert (best["job"]["job_id"], best["chosen_of"]) == (suites["repeated"][1], 4)
    assert rank["score"] == 0.85
    assert rank["interval"]["confidence"] == pytest.approx(1 - 0.05 / 4)
    mean, rank = ranked(runs="mean")
    assert (mean["job"]["job_id"], mean["averaged"], mean["other_settings"]) == (suites["repeated"][3], 3, 1)
    assert (mean["score"], rank["score"]) == (pytest.approx(0.8), pytest.approx(0.8))
    assert mean["results"]["matrix/clear"]["runs"] == 3


def test_models_benchmarks_and_times_of_a_leaderboard_can_be_chosen(
    server: RunningServer, suites: dict[str, list[str]]
):
    whole = board(server, model="single|repeated|partial")
    assert {each["model"] for each in whole["entries"]} == {"single", "repeated"}
    assert [each["model"] for each in whole["left_out"]] == ["partial"]
    assert whole["left_out"][0]["results"]["matrix/clear"]["score"] == 0.75
    hidden = board(server, model="single|repeated|partial", incomplete="hide")
    assert (hidden["left_out"], hidden["incomplete"]) == ([], 1)
    some = board(server, model="single|partial", bench="matrix/clear")
    assert [each["model"] for each in some["entries"]] == ["partial", "single"]
    assert (len(some["leaderboard"]["benchmarks"]), some["all_benchmarks"]) == (1, 5)
    ordered = board(server, model="single|repeated", sort="matrix/clear", bench="matrix/clear|matrix/late")
    assert [each["model"] for each in ordered["entries"]] == ["single", "repeated"]
    assert board(server, since="2100-01-01T00:00:00Z")["entries"] == []


def test_results_with_other_settings_are_marked(server: RunningServer, suites: dict[str, list[str]]):
    ids = ",".join([suites["single"][0], *suites["repeated"][2:]])
    answer = server.get(f"{API}/leaderboards?jobs={ids}&sort=created")
    marks = [each["results"]["matrix/late"].get("configuration", []) for each in answer["entries"]]
    assert marks == [
        [],
        [{"name": "model.parameters.temperature", "candidate": "0.7"}],
        [],
    ]


@pytest.mark.parametrize(
    "query",
    ["runs=first", "incomplete=maybe", "bench=matrix/none", "sort=-none", "since=yesterday", "colour=x"],
)
def test_wrong_parameters_of_a_leaderboard_are_refused(server: RunningServer, query: str):
    answer = server.call("GET", f"{API}/leaderboards/suite?{query}")
    assert (answer.status, answer.body["errors"][0]["path"]) == (400, query.partition("=")[0])


def test_a_baseline_names_a_job(server: RunningServer, jobs: dict[str, str]):
    path = f"{API}/baselines/nightly"
    assert server.call("GET", path).status == 404
    for job_id in (jobs["worse"], jobs["base"]):
        answer = server.call("PUT", path, {"job_id": job_id})
        assert (answer.status, answer.body["job_id"]) == (200, job_id)
    assert server.get(path)["name"] == "nightly"
    assert [each["name"] for each in server.get(f"{API}/baselines")["items"]] == ["nightly"]
    comparison = compare(server, "name:nightly", jobs["better"])
    assert (comparison["baseline"]["job_id"], comparison["baseline"]["baseline"]) == (jobs["base"], "nightly")
    tag = server.call("GET", path).headers["etag"]
    assert server.call("PUT", path, {"job_id": jobs["worse"]}, {"If-Match": tag}).status == 200
    assert server.call("PUT", path, {"job_id": jobs["base"]}, {"If-Match": tag}).status == 412
    assert server.call("DELETE", path).status == 204
    assert server.call("DELETE", path).status == 404
    assert server.call("PUT", path, {"job_id": jobs["base"]}, {"If-Match": tag}).status == 412


def test_a_baseline_whose_job_is_deleted_is_a_conflict(server: RunningServer, jobs: dict[str, str]):
    gone = run(server, "base", "clear")
    server.finished(gone)
    server.call("PUT", f"{API}/baselines/gone", {"job_id": gone})
    server.call("DELETE", f"{API}/jobs/{gone}?hard_delete=true")
    answer = server.call("GET", f"{API}/comparisons?baseline=name:gone&candidate={jobs['base']}")
    assert answer.refusal == (409, "baseline_job_missing")
    server.call("DELETE", f"{API}/baselines/gone")


def test_a_job_is_pinned_and_unpinned(server: RunningServer, jobs: dict[str, str]):
    path = f"{API}/jobs/{jobs['base']}/pin"
    for method, pinned in (("PUT", True), ("PUT", True), ("DELETE", False), ("DELETE", False)):
        assert server.call(method, path).status == 204
        listed = [each["resource"]["id"] for each in server.get(f"{API}/jobs?pinned=true")["items"]]
        assert listed == ([jobs["base"]] if pinned else [])
    assert server.call("PUT", f"{API}/jobs/no-such-job/pin").status == 404


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "query_parameter_required"),
        ({"baseline": "base"}, 400, "query_parameter_required"),
        ({"baseline": "base", "candidate": ","}, 400, "query_parameter_required"),
        ({"baseline": "base", "candidate": "base"}, 400, "nothing_to_compare"),
        ({"baseline": "base", "candidate": "no-such-job"}, 404, "resource_not_found"),
        ({"baseline": "name:nothing", "candidate": "base"}, 404, "resource_not_found"),
        ({"baseline": "base", "candidate": "better", "metric": "f2"}, 400, "unknown_metric"),
        ({"baseline": "base", "candidate": "better", "alpha": "5"}, 400, "query_parameter_invalid"),
        ({"baseline": "base", "candidate": "better", "alpha": "nan"}, 400, "query_parameter_invalid"),
        ({"baseline": "base", "candidate": "better", "margin": "0"}, 400, "query_parameter_invalid"),
        ({"baseline": "base", "candidate": "better", "weights": "x"}, 400, "query_parameter_value_invalid"),
        ({"baseline": "base", "candidate": "better", "colour": "x"}, 400, "query_bad_parameter"),
        ({"baseline": "base", "candidate": ",".join(map(str, range(21)))}, 400, "query_parameter_invalid"),
    ],
)
def test_bad_comparisons_get_clear_errors(
    server: RunningServer, jobs: dict[str, str], query: dict[str, str], status: int, code: str
):
    query = {name: jobs.get(value, value) for name, value in query.items()}
    answer = server.call("GET", f"{API}/comparisons?{urlencode(query)}")
    assert answer.refusal == (status, code)


def test_a_leaderboard_has_the_reported_results_of_all_models(tmp_path: Path):
    runs = tmp_path / "runs"
    record(runs, "one", "clear", answers(30, 10))
    record(runs, "one", "noise", None, acc=0.5)
    record(runs, "two", "clear", answers(20, 20))
    config = Config(tmp_path / "config", **LIMITS)
    matrix_config(config, runs, "clear", "noise")
    with RunningServer(config.folder) as running:
        found: dict[str, str] = {}
        for model in ("one", "two"):
            body = {
                "name": "j",
                "model": {"url": "http://m.test", "name": model},
                "collection": {"id": "suite"},
            }
            found[model] = running.call("POST", f"{API}/jobs", body).body["resource"]["id"]
            running.finished(found[model])
        board = running.get(f"{API}/leaderboards/suite")
    (entry,), (left_out,) = board["entries"], board["left_out"]
    assert entry["results"]["matrix/clear"] == {
        "job_id": found["one"],
        "benchmark_index": 0,
        "state": "completed",
        "score": 0.75,
    }
    assert {name: (each["state"], each.get("score")) for name, each in left_out["results"].items()} == {
        "matrix/clear": ("completed", 0.5),
        "matrix/noise": ("failed", None),
    }


def changed(server: RunningServer, baseline: str, candidate: str, **query: Any) -> dict[str, Any]:
    text = urlencode({"baseline": baseline, "candidate": candidate, "benchmark": "matrix/clear", **query})
    return server.get(f"{API}/comparisons/samples?{text}")


def test_the_samples_behind_a_comparison_can_be_listed(server: RunningServer, jobs: dict[str, str]):
    both = f"{jobs['better']},{jobs['worse']}"
    page = changed(server, jobs["base"], both, change="broken", limit=2)
    assert page["total_count"] == 40
    assert [each["sample_id"] for each in page["items"]] == ["q0", "q1"]
    first = page["items"][0]
    assert (first["changes"], first["differences"]) == (["broken", "broken"], [-1.0, -1.0])
    assert first["baseline"]["sample"]["input"] == "Question 0"
    assert (first["baseline"]["score"], first["candidates"][1]["score"]) == (1.0, 0.0)
    counts = [each["counts"] for each in page["candidates"]]
    assert counts[0] == {"broken": 5, "fixed": 40, "both_failed": 60, "both_passed": 295}
    last = server.get(page["next"]["href"].replace("limit=2", "limit=39"))
    assert (len(last["items"]), "next" in last) == (38, False)
    everything = changed(server, jobs["base"], both)
    assert (everything["total_count"], everything["metric"], everything["other_content"]) == (400, "acc", 0)


def test_changed_samples_are_filtered_by_group_and_text(server: RunningServer, jobs: dict[str, str]):
    def listed(**query: Any) -> dict[str, Any]:
        return changed(server, jobs["base"], f"{jobs['better']},{jobs['worse']}", **query)

    everything = listed(limit=1)
    assert "facets" not in everything
    (facet,) = listed(limit=1, facets="group", group="no-such-group")["facets"]
    assert facet == {"name": "group", "distinct": 1, "values": [{"value": "", "count": 400}]}
    none = listed(group="no-such-group")
    assert (none["total_count"], none["items"]) == (0, [])
    assert [each["counts"] for each in none["candidates"]] == [
        each["counts"] for each in everything["candidates"]
    ]
    found = listed(q="QUESTION 39")
    assert {each["sample_id"] for each in found["items"]} == {
        "q39",
        *(f"q{number}" for number in range(390, 400)),
    }
    assert listed(q="question 39", change="broken")["total_count"] < found["total_count"]


def test_changed_samples_are_sorted(server: RunningServer, jobs: dict[str, str]):
    page = changed(server, jobs["base"], jobs["better"], sort="-sample_id", limit=3, facets="group,metadata")
    assert [each["sample_id"] for each in page["items"]] == ["q99", "q98", "q97"]
    assert [each["name"] for each in page["facets"]] == ["group"]


def test_differences_by_group_of_samples_without_groups_are_none(server: RunningServer, jobs: dict[str, str]):
    query = {"baseline": jobs["base"], "candidate": f"{jobs['better']},{jobs['worse']}"}
    found = server.get(f"{API}/comparisons/groups?{urlencode({**query, 'benchmark': 'matrix/clear'})}")
    assert found == {
        "benchmark": "matrix/clear",
        "candidates": [{"job_id": jobs[each], "groups": []} for each in ("better", "worse")],
    }


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"benchmark": "matrix/clear", "by": "topic"}, 400, "query_parameter_value_invalid"),
        ({"benchmark": "matrix/none"}, 404, "resource_not_found"),
        ({"benchmark": "matrix/bare", "by": "topic"}, 400, "query_parameter_value_invalid"),
        ({}, 400, "query_parameter_required"),
        ({"benchmark": "matrix/clear", "candidate": "base"}, 400, "nothing_to_compare"),
    ],
)
def test_wrong_parameters_of_differences_by_group_are_refused(
    server: RunningServer, jobs: dict[str, str], query: dict[str, str], status: int, code: str
):
    wanted = {"baseline": jobs["base"], "candidate": jobs["better"], **query}
    wanted["candidate"] = jobs.get(wanted["candidate"], wanted["candidate"])
    answer = server.call("GET", f"{API}/comparisons/groups?{urlencode(wanted)}")
    assert answer.refusal == (status, code)


def test_samples_with_other_inputs_are_listed(server: RunningServer, jobs: dict[str, str]):
    query = {"benchmark": "matrix/prompts", "change": "other_content", "limit": 1}
    page = changed(server, jobs["base"], jobs["better"], **query)
    assert (page["total_count"], page["other_content"]) == (100, 100)
    assert page["items"][0]["other_content"]


def test_the_page_of_a_sample_with_another_input_shows_both(server: RunningServer, jobs: dict[str, str]):
    query = {"base": jobs["base"], "with": jobs["better"], "benchmark": "matrix/prompts", "id": "q0"}
    answer = server.call("GET", f"/ui/compare/sample?{urlencode(query)}")
    assert answer.status == 200
    page = answer.body
    assert "≠ other content" in page
    assert page.count("<h3>Input") == 2
    assert 'id="input"' not in page


def test_runs_without_samples_are_named(server: RunningServer, jobs: dict[str, str]):
    other = run(server, "better", "noise")
    server.finished(other)
    page = changed(server, jobs["base"], f"{other},{jobs['worse']}", limit=1)
    assert page["candidates"][0]["no_samples"] == f"The job {other} has no such benchmark."
    assert (len(page["items"][0]["candidates"]), len(page["candidates"])) == (1, 2)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"benchmark": "matrix/bare"}, 404, "samples_not_available"),
        ({"benchmark": "matrix/none"}, 404, "resource_not_found"),
        ({"facets": "tag"}, 400, "query_parameter_value_invalid"),
        ({"q": "x" * 1001}, 400, "query_parameter_invalid"),
        ({"candidate": "base"}, 400, "nothing_to_compare"),
        ({"change": "better"}, 400, "query_parameter_value_invalid"),
        ({"metric": "f2"}, 400, "unknown_metric"),
        ({"alpha": "0.1"}, 400, "query_bad_parameter"),
    ],
)
def test_bad_lists_of_changed_samples_get_clear_errors(
    server: RunningServer, jobs: dict[str, str], query: dict[str, str], status: int, code: str
):
    query = {"baseline": "base", "candidate": "worse", "benchmark": "matrix/clear", **query}
    text = urlencode({name: jobs.get(value, value) for name, value in query.items()})
    assert server.call("GET", f"{API}/comparisons/samples?{text}").refusal == (status, code)


def test_settings_in_which_jobs_differ_are_listed(server: RunningServer, jobs: dict[str, str]):
    hot = {"url": "http://localhost:9/v1", "name": "worse", "parameters": {"temperature": 0.7, "token": "t"}}
    members = [
        {"id": "clear", "provider_id": PROVIDER, "parameters": {"shots": 5, "num_concurrent": 8}},
        {"id": "noise", "provider_id": PROVIDER},
    ]
    candidate = server.submit(benchmarks=members, model=hot)
    server.finished(candidate)
    (found,) = compare(server, jobs["base"], candidate)["candidates"]
    assert found["configuration"] == [
        {"name": "parameters.shots", "candidate": "5", "benchmarks": ["matrix/clear"]},
        {"name": "model.parameters.temperature", "candidate": "0.7"},
    ]


@pytest.mark.parametrize("name", ["-x", "a b", "x" * 101, "ä"])
def test_bad_names_of_baselines_are_refused(server: RunningServer, jobs: dict[str, str], name: str):
    answer = server.call("PUT", f"{API}/baselines/{quote(name)}", {"job_id": jobs["base"]})
    assert answer.refusal == (400, "baseline_name_invalid")


def test_tenants_see_only_their_own(server: RunningServer, jobs: dict[str, str]):
    mine, theirs = {"X-Tenant": "team-a"}, {"X-Tenant": "team-b"}
    body = {
        "name": "tenant",
        "model": {"url": "http://localhost:9/v1", "name": "base"},
        "benchmarks": [{"id": "clear", "provider_id": PROVIDER}],
    }
    ids = []
    for headers in (mine, theirs):
        ids.append(server.call("POST", f"{API}/jobs", body, headers).body["resource"]["id"])
        server.finished(ids[-1])
        answer = server.call("PUT", f"{API}/baselines/main", {"job_id": ids[-1]}, headers)
        assert answer.status == 200
    for headers, own, other in ((mine, *ids), (theirs, *reversed(ids))):
        assert server.call("GET", f"{API}/baselines/main", None, headers).body["job_id"] == own
        listed = server.call("GET", f"{API}/baselines", None, headers).body["items"]
        assert [each["job_id"] for each in listed] == [own]
        for path, method in (
            (f"{API}/comparisons?baseline=name:main&candidate={other}", "GET"),
            (f"{API}/comparisons?baseline={other}&candidate={own}", "GET"),
            (f"{API}/leaderboards?jobs={own},{other}", "GET"),
            (f"{API}/jobs/{other}/scores", "GET"),
            (f"{API}/jobs/{other}/pin", "PUT"),
        ):
            assert server.call(method, path, None, headers).status == 404, path
        assert server.call("PUT", f"{API}/baselines/main", {"job_id": other}, headers).status == 404


def test_baselines_survive_a_restart(tmp_path: Path):
    runs = tmp_path / "runs"
    record(runs, "base", "clear", answers(30, 10))
    config = Config(tmp_path / "config", **LIMITS)
    matrix_config(config, runs, "clear")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as running:
        job_id = run(running, "base", "clear")
        running.finished(job_id)
        running.call("PUT", f"{API}/baselines/main", {"job_id": job_id})
    with RunningServer(config.folder, data_dir=tmp_path / "data") as running:
        assert running.get(f"{API}/baselines/main")["job_id"] == job_id
