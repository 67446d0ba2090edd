import json
import math

import pytest

from evalhub_server.domain.record import BenchmarkRecord, PlannedBenchmark, ResultRecord
from evalhub_server.domain.sample_index import (
    MAX_METRICS,
    CorruptIndex,
    IndexBuilder,
    SampleIndex,
    decode_index,
)
from evalhub_server.domain.samples import (
    MAX_DEPTH,
    BadSample,
    item_set_hash,
    parse_sample,
    sample_set_view,
    shown_line,
)
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import SampleSet

ACC = PrimaryScore(metric="acc")


def line(**members: object) -> bytes:
    return json.dumps({"sample_id": "a", **members}).encode()


def index_of(*lines: bytes) -> SampleIndex:
    builder = IndexBuilder()
    for each in lines:
        builder.add(parse_sample(each, ACC))
    return builder.build()


def test_a_stored_line_has_id_and_epoch_and_keeps_unknown_members() -> None:
    parsed = parse_sample(line(metrics={"acc": True}, input="é", own={"x": [1, 2.5]}, outcome="mine"), ACC)
    assert json.loads(parsed.line) == {
        "sample_id": "a",
        "epoch": 0,
        "metrics": {"acc": True},
        "input": "é",
        "own": {"x": [1, 2.5]},
    }
    assert dict(parsed.metrics) == {"acc": 1.0}
    assert "é".encode() in parsed.line  # not escaped: a search finds it


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, None),
        ({"total_tokens": 7, "input_tokens": 5}, 7),
        ({"input_tokens": 5, "output_tokens": 2}, 7),
        ({"output_tokens": 2}, 2),
        ({"total_tokens": "7"}, None),
        ({"total_tokens": True}, None),
        ({"total_tokens": -1}, None),
        ({"total_tokens": 10**18}, None),
    ],
)
def test_tokens_are_the_total_or_the_sum(usage: dict[str, object] | None, tokens: int | None) -> None:
    assert parse_sample(line(usage=usage)).tokens == tokens


def test_tokens_of_all_samples_are_added() -> None:
    builder = IndexBuilder()
    assert builder.tokens is None
    for number, usage in enumerate(({"total_tokens": 3}, None, {"total_tokens": 4})):
        builder.add(parse_sample(line(sample_id=str(number), usage=usage)))
    assert builder.tokens == 7


def test_a_shown_line_has_outcome_and_key_hash_and_is_accepted_again() -> None:
    parsed = parse_sample(line(metrics={"acc": 1}), ACC)
    shown = shown_line(parsed.line, parsed.outcome, parsed.key_hash)
    assert json.loads(shown)["outcome"] == "passed"
    assert json.loads(shown)["key_hash"] == parsed.key_hash.hex()
    assert parse_sample(shown, ACC) == parsed


def test_a_number_is_accepted_as_id_and_as_group() -> None:
    parsed = parse_sample(line(sample_id=7, group=3))
    assert (parsed.sample_id, parsed.group) == ("7", "3")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"sample_id": "a", "metrics": {"acc": NaN}}', "not valid JSON"),
        (b'{"sample_id": "a", "metrics": {"acc": 1e999}}', "not valid JSON"),
        (b'{"sample_id": "a", "metrics": {"acc": 1' + b"0" * 400 + b"}}", "metrics.acc is 1"),
        (b'{"sample_id": "\\ud800"}', "not valid JSON"),
        (b'{"sample_id": "a", "input": "\xff"}', "not valid JSON"),
        (b'{"sample_id": "a", "input": "\xed\xa0\x80"}', "not valid JSON"),
        (b'{"sample_id": "a", "input": ' + b"[" * 70 + b"]" * 70 + b"}", f"nested deeper than {MAX_DEPTH}"),
        (b'{"sample_id": "a", "input": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", "nested deeper"),
        (line(sample_id=None), "sample_id is missing"),
        (line(sample_id=""), "sample_id is missing"),
        (line(sample_id=True), "sample_id is not a text"),
        (line(sample_id="a\0b"), "NUL"),
        (line(sample_id="a" * 2000), "longer than"),
        (line(epoch=-1), "epoch is -1"),
        (line(epoch=1.5), "epoch is 1.5"),
        (line(metrics=[1]), "metrics is not an object"),
        (line(metrics={"acc": "high"}), 'metrics.acc is "high"; use a number'),
        (line(error={"code": 3}), "error is"),
        (line(error_kind="cosmic"), "use model or infrastructure"),
        (line(passed="yes"), "passed is"),
        (line(latency_s=-1), "not negative"),
        (line(usage=[1]), "usage is not an object"),
        (line(tags="hard"), 'tags is "hard"; use a list of texts'),
        (line(tags=["hard", 1]), "use a list of texts"),
        (line(tags=[str(n) for n in range(101)]), "more than 100 tags"),
    ],
)
def test_a_line_that_is_no_sample_is_refused_with_a_reason(text: bytes, reason: str) -> None:
    with pytest.raises(BadSample) as caught:
        parse_sample(text, ACC)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("members", "primary", "outcome"),
    [
        ({"error": "timeout", "passed": True, "metrics": {"acc": 1}}, ACC, "error"),
        ({"error": "", "passed": True, "metrics": {"acc": 0}}, ACC, "passed"),
        ({"passed": False, "metrics": {"acc": 1}}, ACC, "failed"),
        ({"metrics": {"acc": 1}}, ACC, "passed"),
        ({"metrics": {"acc": 0}}, ACC, "failed"),
        ({"metrics": {"acc": 0.5}}, ACC, "unscored"),
        ({"metrics": {"acc": None}}, ACC, "unscored"),
        ({"metrics": {"f1": 1}}, ACC, "unscored"),
        ({"metrics": {"acc": 1}}, None, "unscored"),
        ({"metrics": {"asr": 1}}, PrimaryScore(metric="asr", lower_is_better=True), "failed"),
        ({"metrics": {"asr": 0}}, PrimaryScore(metric="asr", lower_is_better=True), "passed"),
    ],
)
def test_the_outcome_is_error_then_passed_then_the_primary_metric(
    members: dict[str, object], primary: PrimaryScore | None, outcome: str
) -> None:
    assert parse_sample(line(**members), primary).outcome == outcome


def test_items_are_identified_by_input_and_target_whatever_the_order_of_keys() -> None:
    one = parse_sample(b'{"sample_id": "a", "input": {"q": 1, "r": 2}, "target": "x", "output": "1"}')
    same = parse_sample(b'{"sample_id": "a", "target": "x", "input": {"r": 2, "q": 1}, "output": "2"}')
    other = parse_sample(b'{"sample_id": "a", "input": {"q": 1, "r": 2}, "target": "y"}')
    assert one.key_hash == same.key_hash != other.key_hash
    assert one.input_hash == other.input_hash


def test_the_hash_of_a_set_ignores_order_and_epochs() -> None:
    items = [("a", b"1" * 16), ("b", b"2" * 16)]
    assert item_set_hash(items) == item_set_hash([*reversed(items), items[0]])
    assert item_set_hash(items) != item_set_hash([("a", b"2" * 16), ("b", b"1" * 16)])


def test_an_index_is_read_back_as_it_was_written() -> None:
    lines = [
        line(
            sample_id=f"{n}\n∆",
            epoch=n % 3,
            metrics={"acc": n / 7} if n % 2 else {"f1": n},
            group=f"g{n % 4}" if n % 5 else None,
            tags=[f"t{n % 3}", "all"] if n % 2 else [],
            error="x" if n % 7 == 0 else None,
            error_kind="model" if n % 7 == 0 else None,
            latency_s=n / 10 if n % 3 else None,
        )
        for n in range(50)
    ]
    index = index_of(*lines)
    read = decode_index(index.encode())
    assert read.ids == index.ids
    assert read.offsets == index.offsets
    assert (read.epochs, read.outcomes, read.error_kinds) == (index.epochs, index.outcomes, index.error_kinds)
    assert read.group() == index.group()
    assert (read.tags, read.tag_sets) == (index.tags, index.tag_sets)
    assert read.key_hash() == index.key_hash()
    assert read.metrics.keys() == {"acc", "f1"}
    assert [math.isnan(v) for v in read.metrics["acc"]] == [n % 2 == 0 for n in range(50)]
    assert math.isnan(read.latency_s[0])
    assert read.find("4\n∆", 1) == 4
    assert read.find("4\n∆", 0) is None
    assert read.span(0) == (0, read.offsets[1] - 1)


def test_an_empty_index_is_read_back() -> None:
    assert len(decode_index(IndexBuilder().build().encode())) == 0


def test_damaged_bytes_are_no_index() -> None:
    data = index_of(line()).encode()
    for damaged in (
        b"",
        b"EVHSIDX2",
        data[:-8],
        data + b"12345678",
        b"X" + data[1:],
        data.replace(b'"count":1', b'"count":2'),
    ):
        with pytest.raises(CorruptIndex):
            decode_index(damaged)


def test_the_mean_averages_the_epochs_of_a_sample_first() -> None:
    index = index_of(
        line(metrics={"acc": 1}),
        line(epoch=1, metrics={"acc": 0}),
        line(sample_id="b", metrics={"acc": 1}),
        line(sample_id="c", error="x"),
    )
    assert index.mean("acc") == 0.75
    assert index.counts() == {"passed": 2, "failed": 1, "error": 1}


def test_a_mean_too_large_for_a_number_is_left_out() -> None:
    huge = [line(sample_id=f"{n}", epoch=e, metrics={"acc": 1.7e308}) for n in range(3) for e in range(2)]
    assert index_of(*huge).mean("acc") is None
    assert index_of(*huge[::2]).mean("acc") is None


def test_only_a_limited_number_of_metrics_has_a_column() -> None:
    builder = IndexBuilder()
    builder.add(parse_sample(line(metrics={f"m{n}": n for n in range(1000)})))
    assert len(builder.build().metrics) == MAX_METRICS
    assert len(builder.omitted) == MAX_METRICS


@pytest.mark.parametrize(("mean", "named"), [(0.5, False), (0.5 + 1e-7, False), (0.51, True), (None, False)])
def test_a_mean_that_differs_from_the_reported_score_is_named(mean: float | None, named: bool) -> None:
    planned = PlannedBenchmark(id="b", provider_id="p", primary_score=ACC)
    samples = SampleSet(state="stored", means={} if mean is None else {"acc": mean})
    benchmark = BenchmarkRecord(index=0, result=ResultRecord(metrics={"acc": 0.5}), samples=samples)
    view = sample_set_view(planned, benchmark)
    assert view is not None
    difference = view.score_difference
    assert (difference is not None) == named
    if difference:
        assert (difference.metric, difference.reported, difference.samples) == ("acc", 0.5, mean)
