"""Lines of the log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from evalhub_common.json_log import json_line

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def test_a_line_has_level_time_and_message_first():
    line = json_line("info", "job created", {"job_id": "a", "count": 2}, MOMENT.timestamp())
    assert (
        line == '{"level":"info","ts":"2026-01-02T03:04:05.678Z","msg":"job created","job_id":"a","count":2}'
    )


def test_the_time_is_now_unless_given():
    line = json.loads(json_line("info", "x", {}))
    assert abs(datetime.fromisoformat(line["ts"]) - datetime.now(UTC)).total_seconds() < 60


def test_values_that_json_does_not_have_become_text():
    line = json.loads(json_line("info", "x", {"path": Path("/a"), "bad": "\udcff"}))
    assert line["path"] == "/a"
    assert line["bad"] == "\\udcff"


def test_control_and_bidirectional_characters_are_escaped():
    message = "a\x1b[31mb\x7fc\u202ed\U000e0001é"
    line = json_line("info", message, {})
    assert json.loads(line)["msg"] == message
    assert line.isprintable()
    assert "é" in line
