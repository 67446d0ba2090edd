"""The hardware of a benchmark, and the source of each value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_runtime_k8s.hardware import HardwareProfile, Placement, placement, read_profile
from evalhub_runtime_k8s.resources import adapter_resources, quantity
from evalhub_runtime_k8s.settings import Hardening
from evalhub_server.errors import ApiError, LaunchError
from evalhub_server.models.common import HardwareConfig, Queue
from evalhub_server.models.runtime import KubernetesRuntime
from harness.manifests import manifests

GPU = {"resource": "nvidia.com/gpu", "count": 1, "node_selector": {"product": "H100"}}


def placed(
    provider: dict[str, Any] | None = None,
    hardware: dict[str, Any] | None = None,
    profile: HardwareProfile | None = None,
    queue: str = "",
) -> Placement:
    return placement(
        msgspec.convert(provider or {}, KubernetesRuntime),
        msgspec.convert(hardware, HardwareConfig) if hardware is not None else None,
        profile,
        Queue(kind="kueue", name=queue) if queue else None,
    )


def resources(place: Placement) -> dict[str, dict[str, str]]:
    return adapter_resources(place.demand, Hardening())


def a_profile(*identifiers: dict[str, Any], **scheduling: Any) -> HardwareProfile:
    return read_profile("p", {"spec": {"identifiers": list(identifiers), "scheduling": scheduling}})


# --- Amounts ---


def test_without_any_wish_there_are_defaults():
    assert resources(placed()) == {
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": {"cpu": "1", "memory": "2Gi"},
    }


def test_the_request_goes_before_the_provider_and_each_part_alone():
    provider = {"cpu_request": "500m", "cpu_limit": "4", "memory_limit": "8Gi"}
    hardware = {"cpu": {"request": "2"}, "memory": {"limit": "16Gi"}}
    assert resources(placed(provider, hardware)) == {
        "requests": {"cpu": "2", "memory": "512Mi"},
        "limits": {"cpu": "4", "memory": "16Gi"},
    }


@pytest.mark.parametrize(
    ("provider", "hardware", "cpu"),
    [
        ({}, {"cpu": {"request": "3"}}, ("3", "3")),
        ({"cpu_limit": "2"}, {"cpu": {"request": "3"}}, ("3", "3")),
        ({"cpu_limit": "100m"}, None, ("100m", "100m")),
        ({"cpu_request": "2"}, None, ("2", "2")),
        ({"cpu_request": "2"}, {"cpu": {"limit": "1"}}, ("1", "1")),
    ],
)
def test_requested_values_take_precedence_over_defaults(
    provider: dict[str, Any], hardware: dict[str, Any] | None, cpu: tuple[str, str]
):
    found = resources(placed(provider, hardware))
    assert (found["requests"]["cpu"], found["limits"]["cpu"]) == cpu


@pytest.mark.parametrize(
    ("provider", "hardware"),
    [
        ({"cpu_request": "2", "cpu_limit": "1"}, None),
        ({}, {"memory": {"request": "2Gi", "limit": "1Gi"}}),
    ],
)
def test_a_pair_that_contradicts_itself_is_refused(provider: dict[str, Any], hardware: dict[str, Any] | None):
    with pytest.raises(LaunchError, match="above the limit"):
        resources(placed(provider, hardware))


@pytest.mark.parametrize("amount", ["zz", "-1", "1 Gi", "1gb", "1e", "--1", "1.2.3", "Ki"])
def test_what_is_no_amount_is_named(amount: str):
    with pytest.raises(LaunchError, match=f"memory request: '{amount}'"):
        resources(placed({"memory_request": amount}))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250m", "0.25"), ("1", "1"), (".5", "0.5"), ("1.", "1"), ("2k", "2000"), ("1Ki", "1024"), ("1.5Gi", "1610612736"),
        ("1e3", "1000"), ("1E3", "1000"), ("1E-3", "0.001"), ("3E", "3000000000000000000"), ("100n", "0.0000001"),
        ("5u", "0.000005"), ("+1", "1"), ("1Ei", "1152921504606846976"),
    ],
)  # fmt: skip
def test_amounts_are_read_as_kubernetes_reads_them(text: str, number: str):
    assert quantity(text) == Decimal(number)


@given(st.decimals(0, 10**6, places=3), st.sampled_from(["", "m", "k", "Ki", "M", "Mi", "Gi"]))
def test_a_larger_unit_is_more(number: Decimal, unit: str):
    assert quantity(f"{number}{unit}") <= quantity(f"{number}Ti")


# --- Accelerators ---


def test_a_providers_accelerator_brings_its_nodes():
    place = placed({"gpu": GPU})
    assert (
        resources(place)["limits"]["nvidia.com/gpu"] == resources(place)["requests"]["nvidia.com/gpu"] == "1"
    )
    assert place.node_selector == {"product": "H100"}


@pytest.mark.parametrize(
    "gpu", [{**GPU, "count": 0}, {**GPU, "resource": " "}, {"count": 1}, {**GPU, "count": -1}]
)
def test_an_accelerator_without_name_or_number_is_none(gpu: dict[str, Any]):
    place = placed({"gpu": gpu})
    assert resources(place) == resources(placed())
    assert place.node_selector == {}


@pytest.mark.parametrize(
    ("asked", "found", "nodes"),
    [
        ({"name": "nvidia.com/gpu", "count": 4}, {"nvidia.com/gpu": "4"}, {"product": "H100"}),
        ({"count": 2}, {"nvidia.com/gpu": "2"}, {"product": "H100"}),
        ({"name": "amd.com/gpu", "count": 2}, {"amd.com/gpu": "2"}, {}),
    ],
)
def test_a_request_decides_about_accelerators(
    asked: dict[str, Any], found: dict[str, str], nodes: dict[str, str]
):
    place = placed({"gpu": GPU}, {"gpu": asked})
    assert {key: value for key, value in resources(place)["limits"].items() if "/" in key} == found
    assert place.node_selector == nodes


# --- Profiles ---


def test_a_profile_gives_requests_and_limits_and_an_accelerator():
    profile = a_profile(
        {"identifier": "cpu", "resourceType": "CPU", "defaultCount": 2, "maxCount": "4"},
        {"identifier": "memory", "resourceType": "Memory", "defaultCount": "8Gi"},
        {"identifier": "habana.ai/gaudi", "defaultCount": "2", "maxCount": 8},
    )
    assert resources(placed({"gpu": GPU}, profile=profile)) == {
        "requests": {"cpu": "2", "memory": "8Gi", "habana.ai/gaudi": "2"},
        "limits": {"cpu": "4", "memory": "8Gi", "habana.ai/gaudi": "2"},
    }


def test_a_profile_for_nodes_replaces_the_providers_nodes():
    node = {"nodeSelector": {"zone": "a"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    place = placed({"gpu": GPU}, profile=a_profile(type="Node", node=node))
    assert (place.node_selector, place.tolerations) == (
        {"zone": "a"},
        ({"key": "gpu", "operator": "Exists"},),
    )


def test_a_profile_that_says_nothing_of_nodes_leaves_the_providers():
    assert placed({"gpu": GPU}, profile=a_profile()).node_selector == {"product": "H100"}


@pytest.mark.parametrize(
    "obj",
    [
        {"spec": []},
        {"spec": {"identifiers": {}}},
        {"spec": {"identifiers": ["cpu"]}},
        {"spec": {"identifiers": [{"defaultCount": 1}]}},
        {"spec": {"identifiers": [{"identifier": "cpu"}]}},
        {"spec": {"identifiers": [{"identifier": "cpu", "defaultCount": "many"}]}},
        {"spec": {"identifiers": [{"identifier": "cpu", "defaultCount": True}]}},
        {"spec": {"identifiers": [{"identifier": "cpu", "defaultCount": 1, "maxCount": -1}]}},
        {"spec": {"identifiers": [{"identifier": "x/gpu", "defaultCount": "1.5"}]}},
        {"spec": {"identifiers": [{"identifier": "x/gpu", "defaultCount": -1}]}},
        {"spec": {"scheduling": {"type": "Queue", "kueue": {"localQueueName": " "}}}},
        {"spec": {"scheduling": {"type": "Queue"}}},
        {"spec": {"scheduling": {"type": "Elsewhere"}}},
        {"spec": {"scheduling": {"type": "Node", "node": {"tolerations": ["x"]}}}},
    ],
)
def test_a_profile_that_cannot_be_used_is_the_clients_error(obj: dict[str, Any]):
    with pytest.raises(ApiError) as refused:
        read_profile("p", obj)
    assert (refused.value.status, refused.value.code) == (400, "hardware_profile_invalid")
    assert "'p'" in refused.value.message


def test_a_disabled_profile_is_the_clients_error():
    with pytest.raises(ApiError) as refused:
        read_profile("p", {"metadata": {"annotations": {"opendatahub.io/disabled": "true"}}})
    assert (refused.value.status, refused.value.code) == (400, "hardware_profile_disabled")


# --- Queues ---


def test_a_queue_chooses_the_nodes():
    place = placed({"gpu": GPU}, queue="lq")
    assert (place.queue, place.node_selector, place.tolerations) == ("lq", {}, ())


@pytest.mark.parametrize(
    ("profile", "hardware", "job", "expected"),
    [
        ("of-profile", "", "of-job", "of-profile"),
        ("", "of-hardware", "of-job", "of-hardware"),
        ("", "", "of-job", "of-job"),
        ("", "", "", ""),
    ],
)
def test_the_nearest_queue_counts(profile: str, hardware: str, job: str, expected: str):
    config = {"queue": {"kind": "kueue", "name": hardware}} if hardware else {}
    read = a_profile(type="Queue", kueue={"localQueueName": profile}) if profile else None
    assert placed({}, config, read, job).queue == expected


@pytest.mark.parametrize(("priority", "expected"), [("high", "high"), ("None", ""), (None, ""), (" ", "")])
def test_a_priority_belongs_to_the_profiles_queue(priority: str | None, expected: str):
    profile = a_profile(type="Queue", kueue={"localQueueName": "lq", "priorityClass": priority})
    assert placed(profile=profile).priority == expected


def test_a_provider_whose_nodes_do_not_count_is_a_warning():
    request = {
        "name": "j",
        "model": {"url": "http://m", "name": "m"},
        "queue": {"name": "lq"},
        "benchmarks": [{"id": "arc_easy", "provider_id": "lm_evaluation_harness"}],
    }
    (warning,) = manifests(request).warnings
    assert "'lq'" in warning
    assert manifests({**request, "queue": None}).warnings == ()
