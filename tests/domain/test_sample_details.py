"""Metadata and errors of samples as facets and filters."""

from __future__ import annotations

import json
from typing import Any

from evalhub_server.domain.sample_details import MAX_ERRORS, MAX_KEYS, MAX_VALUES, SampleDetails, details_of
from evalhub_server.domain.sample_index import IndexBuilder, SampleIndex
from evalhub_server.domain.sample_query import SampleQuery, select
from evalhub_server.domain.samples import parse_sample

SAMPLES: list[dict[str, Any]] = [
    {"sample_id": "a", "metadata": {"topic": "law", "level": 1, "done": True}},
    {"sample_id": "b", "metadata": {"topic": "law", "level": 2}, "error": "timed out"},
    {"sample_id": "c", "metadata": {"topic": "code", "level": None, "list": [1]}, "error": "refused"},
    {"sample_id": "d", "error": "timed out"},
]


def read(samples: list[dict[str, Any]]) -> tuple[SampleIndex, SampleDetails]:
    parsed = [parse_sample(json.dumps(each).encode()) for each in samples]
    builder = IndexBuilder()
    for each in parsed:
        builder.add(each)
    return builder.build(), details_of((each.line for each in parsed), len(parsed))


def selected(facets: tuple[str, ...] = (), **query: Any) -> tuple[list[str], dict[str, dict[str, int]]]:
    index, details = read(SAMPLES)
    found = select(index, SampleQuery(**query), lambda _text, rows: rows, facets, details)
    return [index.ids[row] for row in found.rows], {
        facet.name: {each.value: each.count for each in facet.values} for facet in found.facets
    }


def test_each_key_with_few_values_is_a_facet():
    _, facets = selected(("error", "metadata"))
    assert facets == {
        "error": {"timed out": 2, "refused": 1, "": 1},
        "metadata.topic": {"law": 2, "code": 1, "": 1},
        "metadata.level": {"1": 1, "2": 1, "": 2},
        "metadata.done": {"true": 1, "": 3},
    }


def test_values_of_a_key_are_alternatives_and_keys_are_conditions():
    assert selected(metadata={"topic": ["law"]})[0] == ["a", "b"]
    assert selected(metadata={"topic": ["law", "code"], "level": [""]})[0] == ["c"]
    assert selected(metadata={"topic": [""]})[0] == ["d"]
    assert selected(errors=["timed out"])[0] == ["b", "d"]
    assert selected(errors=["timed out"], metadata={"topic": ["law"]})[0] == ["b"]
    assert selected(metadata={"nothing": ["x"]})[0] == []
    assert not SampleQuery(errors=["x"]).unfiltered
    assert not SampleQuery(metadata={"a": ["x"]}).unfiltered


def test_a_facet_is_counted_without_its_own_filter():
    _, facets = selected(("error", "metadata", "outcome"), metadata={"topic": ["law"]}, errors=["timed out"])
    assert facets["metadata.topic"] == {"law": 1, "": 1}
    assert facets["error"] == {"timed out": 1, "": 1}
    assert facets["outcome"] == {"error": 1}


def test_samples_without_a_value_are_selected():
    assert selected(("error",), missing=("error",)) == (
        ["a"],
        {"error": {"timed out": 2, "refused": 1, "": 1}},
    )
    assert selected(missing=("group", "tag", "error_kind"))[0] == ["a", "b", "c", "d"]
    assert selected(missing=("error",), errors=["refused"])[0] == []


def test_what_has_too_many_values_has_no_column():
    many = MAX_ERRORS + 1
    samples = [
        {
            "sample_id": str(n),
            "error": f"error {n}",
            "metadata": {"number": n, "few": n % MAX_VALUES, "long": "x" * 300, f"rare {n % 40}": 1},
        }
        for n in range(many)
    ]
    index, details = read(samples)
    assert details.error is None
    assert len(details.metadata) == MAX_KEYS
    assert "few" in details.metadata
    assert not {"number", "long"} & details.metadata.keys()
    found = select(index, SampleQuery(errors=["error 3"]), lambda _text, rows: rows, ("error",), details)
    assert (list(found.rows), found.facets) == ([], ())
