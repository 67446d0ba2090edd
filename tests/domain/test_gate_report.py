"""Reports of gates: nothing that is not a pass looks like one."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from evalhub_server.domain.gate_report import gate_junit, gate_markdown
from evalhub_server.domain.statistics.gate_results import GateOutcome, GateResult, GateRow
from evalhub_server.domain.statistics.inputs import Note


def row(name: str, outcome: GateOutcome, *, required: bool = True, wording: str = "why") -> GateRow:
    return GateRow(name=name, kind="non_inferiority", required=required, outcome=outcome, wording=wording)


def result(outcome: GateOutcome, *rows: GateRow) -> GateResult:
    note = Note(code="repeated", message="a | note")
    return GateResult(
        outcome=outcome,
        exit_code=0,
        wording="all in all",
        alpha=0.05,
        attempt=1,
        benchmarks=rows,
        warnings=(note,),
    )


ROWS = (
    row("p/pass", "pass"),
    row("p/fail", "fail", wording="bad \x00 <&> text"),
    row("p/open", "inconclusive"),
    row("p/missing", "incomplete"),
    row("p/optional", "fail", required=False),
)


def test_junit_counts_whatever_is_no_pass():
    suite = ET.fromstring(gate_junit(result("fail", *ROWS), "job", "base")).find("testsuite")
    assert suite is not None
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["5", "2", "1", "1"]
    kinds = [[element.tag for element in case] for case in suite.findall("testcase")]
    assert kinds == [[], ["failure"], ["failure"], ["error"], ["skipped"]]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "bad  <&> text"


def test_junit_of_nothing_evaluated_is_an_error():
    suite = ET.fromstring(gate_junit(result("incomplete"), "job", "")).find("testsuite")
    assert suite is not None
    assert [suite.get(name) for name in ("tests", "errors")] == ["1", "1"]
    assert suite.find("testcase/error") is not None


def test_markdown_is_escaped():
    text = gate_markdown(result("fail", *ROWS), "job|x", "base")
    assert text.startswith("### ❌ Gate: fail\n\njob\\|x against base: all in all\n")
    assert "| p/optional (not required) | fail | 0 | why |" in text
    assert "* a \\| note" in text
