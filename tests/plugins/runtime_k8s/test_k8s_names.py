"""Names and labels are what Kubernetes takes, and tell everything apart that is not the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evalhub_runtime_k8s.labels import benchmark_selector, job_selector, labels_for, selector, selector_text
from evalhub_runtime_k8s.names import is_object_name, names_for, service_account
from evalhub_runtime_k8s.settings import Installation
from evalhub_server.domain.k8s_labels import label_value
from evalhub_server.testing.runs import a_spec

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")

KEYS = st.tuples(st.text(), st.integers(0, 10_000), st.integers(1, 100))
TEXTS = st.text() | st.text("_.-/ ÄМ漢", max_size=5) | st.text("a-", min_size=60, max_size=80)


@given(KEYS)
@example(("", 0, 1))
@example(("---", 0, 1))
@example(("漢字/..\n", 3, 2))
@example(("a" * 24 + "--" + "b" * 40, 0, 1))
def test_every_name_is_a_dns_label_of_at_most_63_characters(key: tuple[str, int, int]):
    names = names_for(*key)
    for name in (names.job, names.config_map, names.secret):
        assert len(name) <= 63
        assert DNS_LABEL.fullmatch(name)
    assert names.config_map.endswith("-spec")
    assert names.secret.endswith("-model-ref")


@given(KEYS, KEYS)
def test_names_are_the_same_exactly_for_the_same_run(one: tuple[str, int, int], other: tuple[str, int, int]):
    assert (names_for(*one) == names_for(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", 1, 11), ("a", 11, 1)), (("a/1", 2, 3), ("a", 12, 3)), (("A", 0, 1), ("a", 0, 1))],
)
def test_runs_that_look_alike_have_names_of_their_own(one: tuple[str, int, int], other: tuple[str, int, int]):
    assert not {*_all(one)} & {*_all(other)}


def _all(key: tuple[str, int, int]) -> tuple[str, str, str]:
    names = names_for(*key)
    return names.job, names.config_map, names.secret


def test_the_parts_of_names_are_as_long_as_the_released_servers():
    job_id = "ea0b6c49-efb6-4f75-93f8-0b9a1d8322ec"
    names = names_for(job_id, 0, 1)
    guid = names.job[-36:]
    assert names.job == f"ea0b6c49-efb6-4f75-93f8-0b-{guid}"
    assert names.config_map == f"ea0b6c49-efb6-4f75-93-{guid}-spec"
    assert names.secret == f"ea0b6c49-efb6-4f-{guid}-model-ref"


def test_names_stay_from_release_to_release():
    """Another name for the same run would start it a second time."""
    assert names_for("job", 0, 1).job == "job-6c098552-56d9-57f2-bc7a-184570324246"


@given(TEXTS)
@example("")
@example("漢字")
@example("-" * 70 + "a")
def test_every_label_is_one_that_kubernetes_takes(text: str):
    value = label_value(text)
    assert len(value) <= 63
    assert LABEL_VALUE.fullmatch(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("MMLU_Pro", "mmlu_pro"),
        ("arc:challenge", "arc-challenge"),
        ("a  b//c", "a-b-c"),
        ("_.hidden.-", "hidden"),
        ("v1.0_x", "v1.0_x"),
        ("!?", "x"),
        ("é" * 3 + "x", "x"),
        ("a" * 62 + "_b", "a" * 62),
    ],
)
def test_a_label_keeps_what_it_can(text: str, value: str):
    assert label_value(text) == value


@given(TEXTS)
def test_a_label_of_a_label_is_the_same(text: str):
    assert label_value(label_value(text)) == label_value(text)


@given(TEXTS.filter(bool), TEXTS.filter(bool), st.integers(0, 999))
def test_all_labels_are_valid_whatever_the_ids(provider: str, benchmark: str, index: int):
    spec = a_spec(provider_id=provider, benchmark_id=benchmark, benchmark_index=index)
    labels = labels_for(spec, "team-a", Installation(instance="evalhub"), "queue", "High Priority")
    assert [value for value in labels.values() if not LABEL_VALUE.fullmatch(value) or len(value) > 63] == []
    assert labels["benchmark_index"] == str(index)


def test_objects_are_found_by_server_job_and_benchmark():
    here = Installation(instance="evalhub", namespace="system")
    labels = labels_for(a_spec(id="Job.1", benchmark_index=3), "team-a", here)
    for selected in (selector(here, "team-a"), job_selector("Job.1"), benchmark_selector("Job.1", 3)):
        assert selected.items() <= labels.items()
    assert selector_text(benchmark_selector("Job.1", 3)) == "job_id=job.1,benchmark_index=3"


def test_without_an_instance_its_labels_are_left_out():
    assert selector(Installation(), "team-a") == {"app": "evalhub", "component": "evaluation-job"}


def test_a_queues_name_is_as_it_is_and_a_priority_is_sanitised():
    labels = labels_for(a_spec(), "t", Installation(), "My.Queue", "High Prio")
    assert labels["kueue.x-k8s.io/queue-name"] == "My.Queue"
    assert labels["kueue.x-k8s.io/priority-class"] == "high-prio"


def test_the_service_account_is_the_operators():
    assert service_account("evalhub", "system") == "evalhub-system-job"


@given(st.from_regex(r"[a-z][a-z0-9]{1,61}[a-z0-9]", fullmatch=True))
def test_a_long_service_account_is_shortened_to_a_name_of_its_own(namespace: str):
    name = service_account("evalhub", namespace)
    assert len(name) <= 63
    assert DNS_LABEL.fullmatch(name)
    assert service_account("evalhub", namespace + "x") != name


def test_the_shortened_account_ends_in_ten_digits_of_the_hash_of_the_whole_name():
    name = service_account("e" * 40, "n" * 40)
    assert name == "e" * 40 + "-" + "n" * 11 + "-11eeb36a2e"


@pytest.mark.parametrize("name", ["a", "a-b.c", "0", "a" * 63, "x.y.z"])
def test_names_of_objects_are_known(name: str):
    assert is_object_name(name)


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a..b", "a/b", "a_b", "a" * 254, "a\n", "../a"])
def test_what_cannot_be_a_name_is_known(name: str):
    assert not is_object_name(name)
