"""What holds for every benchmark, whatever is asked for and however the server is installed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evalhub_runtime_k8s.hardware import HardwareProfile
from evalhub_runtime_k8s.manifest import Facts, Manifests, build
from evalhub_runtime_k8s.settings import Hardening, Installation, KubernetesSettings, MlflowSection
from evalhub_server.errors import LaunchError
from evalhub_server.models.common import HardwareConfig, Queue, TestDataRef
from evalhub_server.models.job import Model
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins import BenchmarkRun, Timespan
from harness.apischema import job_problems, schema_problems

NAMES = st.sampled_from(["a", "b-c", "team.x"])
WORDS = st.text(max_size=8)
AMOUNTS = st.sampled_from([*["", "1", "250m", "2Gi"] * 9, "zz"])
SECRET_KEYS = st.sampled_from(["api-key", "j_api-key", "k_sa_token", "j_url", "hf-token", "ca_cert", "x"])
SECRET_VALUE = "c2VjcmV0LWNyZWRlbnRpYWw="

providers = st.fixed_dictionaries(
    {"image": st.sampled_from([*["registry.example/a:1"] * 9, ""])},
    optional={
        "entrypoint": st.lists(WORDS, max_size=3),
        "cpu_request": AMOUNTS,
        "memory_limit": AMOUNTS,
        "gpu": st.fixed_dictionaries({"resource": st.sampled_from(["", "x/gpu"]), "count": st.integers(-1, 2)}),
        "env": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["", "A", "EVALHUB_MODE"]), "value": WORDS})),
        "image_pull_policy": st.sampled_from(["always", "if_not_present", ""]),
        "restart_disrupted": st.booleans(),
    },
)  # fmt: skip
queues = st.none() | st.builds(Queue, kind=st.just("kueue"), name=st.sampled_from(["q1", "q2"]))
hardware = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.fixed_dictionaries({}, optional={"request": AMOUNTS, "limit": AMOUNTS}),
        "gpu": st.fixed_dictionaries({"name": st.sampled_from(["", "y/gpu"]), "count": st.integers(-1, 2)}),
        "queue": st.just({"kind": "kueue", "name": "q3"}),
    },
).map(lambda value: msgspec.convert(value, HardwareConfig))
profiles = st.none() | st.builds(
    HardwareProfile,
    gpu=st.sampled_from(["", "z/gpu"]),
    gpu_count=st.integers(0, 2),
    node_selector=st.just({"zone": "a"}),
    tolerations=st.just(({"operator": "Exists"},)),
    on_nodes=st.booleans(),
    queue=st.sampled_from(["", "q4"]),
    priority=st.sampled_from(["", "High"]),
)
sources = st.one_of(
    st.none(),
    st.fixed_dictionaries({"pvc": st.fixed_dictionaries({"claim_name": NAMES, "sub_path": st.text("./a", max_size=6)})}),
    st.fixed_dictionaries({"s3": st.fixed_dictionaries({"bucket": WORDS, "key": WORDS, "secret_ref": NAMES})}),
    st.fixed_dictionaries({"git": st.fixed_dictionaries({"url": WORDS, "ref": WORDS, "secret_ref": st.just("") | NAMES})}),
    st.fixed_dictionaries({"hf": st.fixed_dictionaries({"repo_id": WORDS, "secret_ref": st.just("") | NAMES})}),
).map(lambda value: value and msgspec.convert(value, TestDataRef))  # fmt: skip
models = st.builds(
    lambda url, auth: msgspec.convert({"url": url, "name": "m", **({"auth": {"secret_ref": auth}} if auth else {})}, Model),
    st.sampled_from(["", "http://m/v1", "https://m.example:8000/v1/?a=b"]),
    st.just("") | NAMES,
)  # fmt: skip
specs = st.builds(
    JobSpec,
    id=st.uuids().map(str) | WORDS,
    provider_id=WORDS,
    benchmark_id=WORDS,
    benchmark_index=st.integers(0, 500),
    model=models,
    parameters=st.dictionaries(WORDS, st.integers() | WORDS, max_size=2),
    callback_url=st.just("http://127.0.0.1:1"),
)
runs = st.builds(
    BenchmarkRun,
    spec=specs,
    attempt=st.integers(1, 5),
    tenant=st.sampled_from(["", "team-a"]),
    config=providers,
    hardware=hardware,
    queue=queues,
    test_data=sources,
    oci_connection=st.just("") | NAMES,
)
installations = st.builds(
    Installation,
    instance=st.sampled_from(["", "evalhub", "e" * 60]),
    namespace=st.sampled_from(["", "system"]),
    server_url=st.just("http://127.0.0.1:1"),
    mlflow=st.builds(MlflowSection, tracking_uri=st.sampled_from(["", "http://mlflow"])),
    init_image=st.sampled_from(["", "registry.example/evalhub:1"]),
    settings=st.builds(
        KubernetesSettings,
        hardening=st.builds(
            Hardening,
            deadline=st.sampled_from([Timespan(0), Timespan(0.2), Timespan(60)]),
            restart_disrupted=st.booleans(),
            logs_as_message=st.booleans(),
            pod_security_context=st.booleans(),
            read_only_root=st.booleans(),
            service_links=st.booleans(),
            docker_config_in_adapter=st.booleans(),
            volume_size_limit=st.sampled_from(["", "1Gi"]),
        ),
    ),
)
facts = st.builds(
    Facts,
    mlflow_bundle=st.booleans(),
    model_secret=st.none() | st.dictionaries(SECRET_KEYS, st.just(SECRET_VALUE)),
    profile=profiles,
)


def built(run: BenchmarkRun, where: Installation, known: Facts) -> Manifests | None:
    try:
        return build(run, where, known)
    except LaunchError:
        return None


@given(runs, installations, facts)
def test_a_benchmark_is_refused_in_words_or_its_objects_are_what_the_api_takes(
    run: BenchmarkRun, where: Installation, known: Facts
):
    found = built(run, where, known)
    if found is None:
        return
    for item in (found.secret, found.config_map, found.job):
        if item is not None:
            assert schema_problems(item) == []
            assert len(item["metadata"]["name"]) <= 63
            assert item["metadata"]["namespace"] == found.namespace
    assert job_problems(found.job) == []
    resources = found.job["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"].keys() == resources["limits"].keys()


@given(runs, installations, facts)
def test_the_same_run_has_the_same_objects_and_a_later_attempt_others(
    run: BenchmarkRun, where: Installation, known: Facts
):
    first, again = built(run, where, known), built(run, where, known)
    later = built(replace(run, attempt=run.attempt + 1), where, known)
    assert first == again
    assert (first is None) == (later is None)
    assert first is None or later is None or not set(_names(first)) & set(_names(later))


def _names(found: Manifests) -> tuple[str, str, str]:
    return found.names.job, found.names.config_map, found.names.secret


@given(runs, installations, facts)
def test_no_credential_and_no_token_reaches_the_adapter(run: BenchmarkRun, where: Installation, known: Facts):
    found = built(run, where, known)
    if found is None:
        return
    pod: dict[str, Any] = found.job["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    seen = [volumes[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]]
    text = json.dumps(seen)
    assert "serviceAccountToken" not in text
    assert pod["automountServiceAccountToken"] is False
    own = {"secretName": run.spec.model.auth.secret_ref} if run.spec.model.auth else None
    assert own is None or own not in [v.get("secret") for v in seen if v["name"] != "oci-credentials"]
    everything = json.dumps([found.secret, found.config_map, found.job])
    assert SECRET_VALUE not in everything
