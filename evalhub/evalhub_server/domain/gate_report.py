"""Reports of quality gates for CI: JUnit XML and Markdown."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from evalhub_server.domain.statistics.gate_results import GateResult, GateRow
from evalhub_server.domain.table_formats import escaped_markdown

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "❔", "incomplete": "⚠️"}


def gate_junit(result: GateResult, job: str, baseline: str) -> bytes:
    """JUnit XML with one test case for each benchmark.

    Whatever is not a pass is a failure, or an error if it could not be evaluated, because readers of these files know no
    inconclusive test. Benchmarks that are not required are skipped tests unless they pass.
    """
    required = [each for each in result.benchmarks if each.required]
    suite = Element(
        "testsuite",
        name="eval-hub-server gate",
        tests=str(max(len(result.benchmarks), 1)),
        failures=str(sum(each.outcome in ("fail", "inconclusive") for each in required)),
        errors=str(sum(each.outcome == "incomplete" for each in required) or int(not required)),
        skipped=str(sum(each.outcome != "pass" and not each.required for each in result.benchmarks)),
    )
    properties = SubElement(suite, "properties")
    for name, value in {
        "job": job,
        "baseline": baseline,
        "outcome": result.outcome,
        "alpha": f"{result.alpha:g}",
    }.items():
        SubElement(properties, "property", name=name, value=_xml(value))
    for row in result.benchmarks:
        _test_case(suite, row)
    if not required:
        case = SubElement(suite, "testcase", classname="gate", name="gate")
        SubElement(case, "error", type=result.outcome, message=_xml(result.wording))
    SubElement(suite, "system-out").text = _xml(
        "\n".join([result.wording, *(each.message for each in result.warnings)])
    )
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _test_case(suite: Element, row: GateRow) -> None:
    case = SubElement(suite, "testcase", classname="gate", name=_xml(row.name))
    if row.outcome == "pass":
        return
    failed = "error" if row.outcome == "incomplete" else "failure"
    kind = failed if row.required else "skipped"
    element = SubElement(case, kind, message=_xml(row.wording))
    if kind != "skipped":
        element.set("type", row.outcome)


def gate_markdown(result: GateResult, job: str, baseline: str) -> str:
    """A summary in Markdown, such as for the page of a CI run."""
    versus = f" against {escaped_markdown(baseline)}" if baseline else ""
    lines = [
        f"### {_MARKS[result.outcome]} Gate: {result.outcome}",
        "",
        f"{escaped_markdown(job)}{versus}: {escaped_markdown(result.wording)}",
        "",
        "| | Benchmark | Outcome | Items | Finding |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result.benchmarks:
        name = row.name if row.required else f"{row.name} (not required)"
        lines.append(
            f"| {_MARKS[row.outcome]} | {escaped_markdown(name)} | {row.outcome} | {row.n} | {escaped_markdown(row.wording)} |"
        )
    if result.warnings:
        lines.append("")
        lines += [f"* {escaped_markdown(each.message)}" for each in result.warnings]
    return "\n".join(lines) + "\n"


def _xml(text: str) -> str:
    """The text without characters that XML cannot have."""
    return _NOT_XML.sub("", text)
