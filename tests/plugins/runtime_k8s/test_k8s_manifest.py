"""What a benchmark's objects say, rule by rule."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_runtime_k8s.manifest import Facts, Manifests, build, job_json, owner_reference
from evalhub_server.errors import LaunchError
from harness.apischema import job_problems, schema_problems
from harness.manifests import OPERATOR, facts_of, here, manifests, recorded, run_of

MODEL = {"url": "http://m/v1", "name": "m"}
SECRET = {"auth": {"secret_ref": "model-creds"}}
OCI = {"coordinates": {"oci_host": "registry.example", "oci_repository": "o/r"}}
MLFLOW = {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}


def a_request(**overrides: Any) -> dict[str, Any]:
    benchmark = {"id": "b1", "provider_id": "plain", **overrides.pop("benchmark", {})}
    return {"name": "j", "model": MODEL, "benchmarks": [benchmark], **overrides}


def pod_of(built: Manifests) -> dict[str, Any]:
    return built.job["spec"]["template"]["spec"]


def container(built: Manifests, name: str) -> dict[str, Any]:
    pod = pod_of(built)
    (found,) = [c for c in [*pod["initContainers"], *pod["containers"]] if c["name"] == name]
    return found


VOLUME = "/evalhub/samples"
SAMPLES_ENV = {
    "EVALHUB_SAMPLES_PATH": f"{VOLUME}/samples.jsonl",
    "EVALHUB_ARTIFACTS_PATH": f"{VOLUME}/artifacts",
}


def environment(built: Manifests, name: str = "adapter") -> dict[str, str]:
    return {item["name"]: item["value"] for item in container(built, name)["env"]}


def mounted(built: Manifests, name: str) -> dict[str, str]:
    """Path → volume."""
    return {mount["mountPath"]: mount["name"] for mount in container(built, name)["volumeMounts"]}


def volume(built: Manifests, name: str) -> dict[str, Any]:
    (found,) = [v for v in pod_of(built)["volumes"] if v["name"] == name]
    return found


def file_of(built: Manifests, name: str) -> dict[str, Any]:
    return json.loads(built.config_map["data"][name])


def refusal(request: dict[str, Any], where: Any = None, **options: Any) -> str:
    with pytest.raises(LaunchError) as refused:
        manifests(request, where, **options)
    return str(refused.value)


# --- The API takes it ---


@pytest.mark.parametrize("case", [pytest.param(case, id=case["case"]) for case in recorded()])
def test_the_api_knows_every_field_of_every_object(case: dict[str, Any]):
    run = run_of(case["request"], case["benchmark_index"])
    hardening = {
        "deadline": "2h", "restart_disrupted": True, "logs_as_message": True, "termination_grace": "60s",
        "pod_security_context": True, "read_only_root": True, "service_links": False,
        "ephemeral_storage_request": "1Gi", "ephemeral_storage_limit": "2Gi", "volume_size_limit": "1Gi",
        "network_policy": True,
    }  # fmt: skip
    for where in (here(), here(OPERATOR | MLFLOW, {"hardening": hardening}), here({})):
        built = build(run, where, facts_of(run))
        for item in (built.secret, built.config_map, built.job, built.network_policy):
            assert item is None or schema_problems(item) == []
        assert job_problems(built.job) == []


def test_a_mistake_would_be_noticed():
    job = manifests(a_request()).job
    job["spec"]["backofLimit"] = 0
    pod = job["spec"]["template"]["spec"]
    pod["containers"][0]["volumeMounts"].append({"name": "nothing", "mountPath": "/data"})
    pod["containers"][0]["env"][0]["value"] = 1
    del pod["containers"][0]["name"]
    found = "\n".join(schema_problems(job))
    for problem in ("backofLimit: unknown to V1JobSpec", "value: 1 is no str", "`name`, must not be `None`"):
        assert problem in found
    pod["containers"][0]["name"] = "adapter"
    assert job_problems(job) == ["adapter mounts /data twice"] * 2 + [
        "adapter mounts nothing, which is no volume"
    ]


# --- Samples ---


def test_adapter_and_sidecar_share_a_limited_volume_for_samples():
    built = manifests(a_request())
    assert volume(built, "samples") == {"name": "samples", "emptyDir": {"sizeLimit": "4Gi"}}
    assert mounted(built, "adapter")[VOLUME] == mounted(built, "sidecar")[VOLUME] == "samples"
    assert environment(built).items() >= SAMPLES_ENV.items()
    spec = file_of(built, "job.json")
    assert {spec["samples_path"], spec["artifacts_path"]} == set(SAMPLES_ENV.values())
    assert pod_of(built)["terminationGracePeriodSeconds"] == 60  # for the upload
    assert job_problems(built.job) == []


def test_without_that_volume_a_pod_is_the_released_servers():
    built = manifests(a_request(), here(kubernetes={"samples_volume_limit": ""}))
    objects = {"ConfigMap": built.config_map, "Job": built.job}
    assert "samples" not in json.dumps(objects)
    assert "terminationGracePeriodSeconds" not in pod_of(built)
    assert "env" not in container(built, "sidecar")


# --- Names and owners ---


def test_a_second_build_is_the_same_and_another_attempt_is_not():
    assert manifests(a_request()) == manifests(a_request())
    assert manifests(a_request()).names != manifests(a_request(), job_id="other").names


def test_the_owner_may_be_gone_before_what_it_owns():
    job = {"metadata": {"name": "n", "uid": "u"}}
    assert owner_reference(job) == {
        "apiVersion": "batch/v1", "kind": "Job", "name": "n", "uid": "u", "controller": True,
    }  # fmt: skip


def test_all_objects_carry_the_labels_and_the_secret_alone_no_annotations():
    built = manifests(a_request(model=MODEL | SECRET))
    assert built.secret is not None
    labels = built.job["metadata"]["labels"]
    template = built.job["spec"]["template"]["metadata"]
    assert labels == template["labels"] == built.config_map["metadata"]["labels"]
    assert labels == built.secret["metadata"]["labels"]
    assert template["annotations"] == built.config_map["metadata"]["annotations"]
    assert "annotations" not in built.secret["metadata"]


def test_without_the_operator_there_is_no_account_and_no_authority():
    built = manifests(a_request(), here({}))
    assert "serviceAccountName" not in pod_of(built)
    assert "evalhub-service-ca" not in {v["name"] for v in pod_of(built)["volumes"]}
    assert "evalhub_instance_name" not in built.job["metadata"]["labels"]
    assert file_of(built, "sidecar_config.json")["eval_hub"]["base_url"] == "http://127.0.0.1:8080"


def test_a_configured_account_is_used():
    built = manifests(a_request(), here({}, {"service_account": "runner"}))
    assert pod_of(built)["serviceAccountName"] == "runner"


def test_a_tenantless_job_runs_where_the_server_is():
    assert manifests(a_request(), tenant="").namespace == "default"


# --- Adapter ---


@pytest.mark.parametrize("runtime", [{"image": ""}, {"image": "  "}, {"image": None}])
def test_a_provider_without_an_image_cannot_run(runtime: dict[str, Any]):
    text = refusal(a_request(), runtime=runtime)
    assert "'plain'" in text
    assert "runtime.k8s" in text


def test_a_provider_without_an_entry_for_clusters_cannot_run():
    run = run_of(a_request())
    for config, fragment in ((None, "has no runtime.k8s"), ({"image": "i", "env": 3}, "$.env")):
        with pytest.raises(LaunchError) as refused:
            build(_with(run, config=config), here(), Facts())
        assert fragment in str(refused.value)


def _with(run: Any, **fields: Any) -> Any:
    from msgspec.structs import replace

    return replace(run, **fields)


@pytest.mark.parametrize(
    ("policy", "pulled"),
    [("always", "Always"), ("Always", "Always"), ("if_not_present", "IfNotPresent"), (None, "IfNotPresent")],
)
def test_images_are_pulled_as_the_provider_says(policy: str | None, pulled: str):
    runtime = {"image_pull_policy": policy or ""}
    assert container(manifests(a_request(), runtime=runtime), "adapter")["imagePullPolicy"] == pulled


def test_an_empty_entrypoint_is_the_images_own():
    assert "command" not in container(manifests(a_request(), runtime={"entrypoint": [" ", ""]}), "adapter")


def test_the_words_of_an_entrypoint_are_trimmed():
    built = manifests(a_request(), runtime={"entrypoint": [" python ", "", "-m x"]})
    assert container(built, "adapter")["command"] == ["python", "-m x"]


def test_a_provider_adds_variables_but_replaces_none():
    env = [
        {"name": "EVALHUB_MODE", "value": "local"},
        {"name": "A", "value": "1"},
        {"name": "A", "value": "2"},
        {"name": "", "value": "3"},
        {"name": "MLFLOW_TRACKING_URI", "value": "http://elsewhere"},
    ]
    assert environment(manifests(a_request(), runtime={"env": env})) == {
        "EVALHUB_MODE": "k8s", **SAMPLES_ENV, "A": "1", "MLFLOW_TRACKING_URI": "http://elsewhere",
    }  # fmt: skip
    tracked = environment(manifests(a_request(), here(OPERATOR | MLFLOW), runtime={"env": env}))
    assert tracked["MLFLOW_TRACKING_URI"] == "http://localhost:8080"


def test_trackers_add_variables_but_not_the_servers_way_to_mlflow():
    run = _with(run_of(a_request()), environment={"WANDB_MODE": "offline", "MLFLOW_TRACKING_TOKEN": "hidden"})
    built = build(run, here(OPERATOR | MLFLOW), Facts())
    assert environment(built)["WANDB_MODE"] == "offline"
    assert "hidden" not in json.dumps(built.job)


# --- MLflow ---


def test_a_configured_mlflow_counts_without_the_variable():
    where = here(mlflow={"tracking_uri": "http://mlflow:5000", "http_timeout": "7s"})
    built = manifests(a_request(), where)
    assert environment(built)["MLFLOW_TRACKING_URI"] == "http://localhost:8080"
    assert file_of(built, "sidecar_config.json")["mlflow"] == {
        "tracking_uri": "http://mlflow:5000",
        "token_path": "/var/run/secrets/mlflow/token",
        "workspace": "team-a",
        "ca_cert_path": "/etc/evalhub/mlflow-ca/ca-bundle.crt",
        "http_timeout": 7_000_000_000,
    }


@pytest.mark.parametrize(
    ("environ", "configured", "bundle", "expected"),
    [
        (OPERATOR, "/etc/ssl/ca.pem", True, "/etc/evalhub/mlflow-ca/ca-bundle.crt"),
        (OPERATOR, "/etc/ssl/ca.pem", False, "/etc/ssl/ca.pem"),
        (OPERATOR, "", False, "/etc/pki/ca-trust/source/anchors/service-ca.crt"),
        # What the operator configures is a file of the server's pod.
        (OPERATOR, "/etc/evalhub/mlflow-ca/ca-bundle.crt", False, "/etc/pki/ca-trust/source/anchors/service-ca.crt"),
        ({}, "", False, None),
    ],
)  # fmt: skip
def test_mlflow_is_trusted_by_the_tenants_bundle_the_configured_file_or_the_clusters(
    environ: dict[str, str], configured: str, bundle: bool, expected: str | None
):
    where = here(environ | MLFLOW, mlflow={"ca_cert_path": configured})
    built = build(run_of(a_request()), where, Facts(mlflow_bundle=bundle))
    assert environment(built).get("MLFLOW_TRACKING_SERVER_CERT_PATH") == expected
    assert file_of(built, "sidecar_config.json")["mlflow"].get("ca_cert_path") == expected
    for name in ("adapter", "sidecar"):
        assert ("/etc/evalhub/mlflow-ca" in mounted(built, name)) == bundle


def test_without_mlflow_a_bundle_is_not_mounted():
    assert "/etc/evalhub/mlflow-ca" not in mounted(manifests(a_request()), "adapter")


# --- Model ---


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://m.example.com/v1/", "http://localhost:8080/v1"),
        ("https://m.example.com", "http://localhost:8080"),
        ("https://user:pass@m.example.com:9000/a//b?x=1&y=/z#f", "http://localhost:8080/a//b?x=1&y=/z"),
        ("http://m//", "http://localhost:8080/"),
    ],
)
def test_the_adapter_finds_the_model_behind_its_sidecar(url: str, seen: str):
    built = manifests(a_request(model={"url": url, "name": "m"}))
    assert file_of(built, "job.json")["model"]["url"] == seen
    assert file_of(built, "sidecar_config.json")["model"]["url"] == url


def test_without_a_url_there_is_no_model_to_forward_to():
    data = {"pvc": {"claim_name": "c"}, "type": "pre_recorded_data"}
    request = a_request(model={"name": "m"} | SECRET, benchmark={"test_data_ref": data})
    built = manifests(request)
    assert "model" not in file_of(built, "sidecar_config.json")
    assert built.secret is None


def test_the_adapter_sees_references_and_the_sidecar_the_credentials():
    built = manifests(a_request(model=MODEL | SECRET))
    assert built.secret is not None
    shown = {key: base64.b64decode(value).decode() for key, value in built.secret["data"].items()}
    assert shown == {
        "api-key": "api-key:ref",
        "judge_api-key": "judge_api-key:ref",
        "kfp_sa_token": "kfp_sa_token:ref",
        "judge_url": "http://localhost:8080/v1",
    }
    path = "/var/run/secrets/model"
    assert (mounted(built, "adapter")[path], mounted(built, "sidecar")[path]) == (
        "model-auth-internal", "model-auth",
    )  # fmt: skip
    assert volume(built, "model-auth")["secret"]["secretName"] == "model-creds"


@pytest.mark.parametrize("data", [{"hf-token": "aGY="}, {"ca_cert": "eA==", "judge_url": "!"}, {}])
def test_a_secret_without_credentials_needs_no_references(data: dict[str, str]):
    built = build(run_of(a_request(model=MODEL | SECRET)), here(), Facts(model_secret=data))
    assert built.secret is None
    (source,) = volume(built, "model-auth-internal")["projected"]["sources"]
    assert source["secret"]["optional"] is True
    assert [item["key"] for item in source["secret"]["items"]] == ["hf-token", "ca_cert"]


def test_a_missing_secret_is_named_with_its_namespace():
    with pytest.raises(LaunchError, match=r"'model-creds'.*'team-a'"):
        build(run_of(a_request(model=MODEL | SECRET)), here(), Facts())


def test_an_address_in_a_secret_that_is_no_text_is_named_by_its_key_alone():
    facts = Facts(model_secret={"api-key": "eA==", "judge_url": "/w=="})
    with pytest.raises(LaunchError, match="'judge_url' of the secret 'model-creds'"):
        build(run_of(a_request(model=MODEL | SECRET)), here(), facts)


@pytest.mark.parametrize("name", ["../other", "UPPER", "a b", "a" * 254])
def test_what_cannot_be_a_secret_is_refused_before_anything_is_asked(name: str):
    text = refusal(a_request(model=MODEL | {"auth": {"secret_ref": name}}))
    assert text.startswith("model.auth.secret_ref:")


# --- OCI ---


def test_registry_credentials_are_mounted_where_both_programs_look():
    built = manifests(a_request(exports={"oci": {**OCI, "k8s": {"connection": "push"}}}))
    path = "/etc/evalhub/.docker/config.json"
    assert mounted(built, "adapter")[path] == mounted(built, "sidecar")[path] == "oci-credentials"
    assert environment(built)["OCI_AUTH_CONFIG_PATH"] == path
    assert file_of(built, "job.json")["exports"] == {"oci": OCI}


def test_registry_credentials_can_be_kept_from_the_adapter():
    where = here(OPERATOR, {"hardening": {"docker_config_in_adapter": False}})
    built = manifests(a_request(exports={"oci": {**OCI, "k8s": {"connection": "push"}}}), where)
    path = "/etc/evalhub/.docker/config.json"
    assert path not in mounted(built, "adapter")
    assert path in mounted(built, "sidecar")
    assert "OCI_AUTH_CONFIG_PATH" not in environment(built)


def test_an_export_without_a_secret_mounts_nothing():
    assert "OCI_AUTH_CONFIG_PATH" not in environment(manifests(a_request(exports={"oci": OCI})))


def test_a_registry_secret_has_the_name_of_an_object():
    text = refusal(a_request(exports={"oci": {**OCI, "k8s": {"connection": "a/b"}}}))
    assert text.startswith("exports.oci.k8s.connection:")


# --- Test data ---


def test_a_volume_of_the_tenants_is_mounted_read_only_and_nothing_is_fetched():
    data = {"pvc": {"claim_name": "claim", "sub_path": "/x/./y/"}}
    built = manifests(a_request(benchmark={"test_data_ref": data}), here(service={}))
    assert [c["name"] for c in pod_of(built)["initContainers"]] == ["sidecar"]
    assert volume(built, "test-data")["persistentVolumeClaim"] == {"claimName": "claim", "readOnly": True}
    (mount,) = [m for m in container(built, "adapter")["volumeMounts"] if m["name"] == "test-data"]
    assert mount == {"name": "test-data", "mountPath": "/test_data", "readOnly": True, "subPath": "x/y"}
    assert environment(built)["EVALHUB_TEST_DATA_DIR"] == "/test_data"


@pytest.mark.parametrize("sub_path", ["..", "../x", "a/../../b", "/.."])
def test_a_path_does_not_lead_out_of_the_volume(sub_path: str):
    data = {"pvc": {"claim_name": "claim", "sub_path": sub_path}}
    assert "is outside the volume" in refusal(a_request(benchmark={"test_data_ref": data}))


@pytest.mark.parametrize("sub_path", ["", " ", "/", "./", "a/.."])
def test_a_path_to_the_whole_volume_is_none(sub_path: str):
    data = {"pvc": {"claim_name": "claim", "sub_path": sub_path}}
    built = manifests(a_request(benchmark={"test_data_ref": data}))
    (mount,) = [m for m in container(built, "adapter")["volumeMounts"] if m["name"] == "test-data"]
    assert "subPath" not in mount


@pytest.mark.parametrize(
    ("data", "variables"),
    [
        ({"s3": {"bucket": "b", "key": "//k/", "secret_ref": "s"}}, {"S3_BUCKET": "b", "S3_KEY": "k/"}),
        ({"git": {"url": "https://h/r.git", "ref": "v1"}}, {"GIT_URL": "https://h/r.git", "GIT_REF": "v1"}),
        ({"hf": {"repo_id": "o/d", "revision": " "}}, {"HF_REPO_ID": "o/d"}),
    ],
)
def test_what_is_fetched_stands_in_the_environment_of_init(data: dict[str, Any], variables: dict[str, str]):
    built = manifests(a_request(benchmark={"test_data_ref": data}))
    assert environment(built, "init") == {f"TEST_DATA_{name}": value for name, value in variables.items()}
    fetched_with_revision = "s3" not in data
    assert ("init_container" in file_of(built, "sidecar_config.json")) == fetched_with_revision
    assert ("/run/init-metadata" in mounted(built, "sidecar")) == fetched_with_revision


def test_init_and_sidecar_get_the_variables_of_the_operator_and_keep_their_own():
    git = {"git": {"url": "https://git.example.com/r", "ref": "main"}}
    settings = {
        "init_env": {
            "TEST_DATA_ALLOWED_HOSTS": "git.example.com",
            "HTTPS_PROXY": "http://proxy:3128",
            "TEST_DATA_GIT_URL": "x",
        },
        "sidecar_env": {"HTTPS_PROXY": "http://proxy:3128"},
    }
    built = manifests(
        a_request(benchmark={"test_data_ref": git}),
        here(OPERATOR, settings, service={"eval_init_image": "i"}),
    )
    assert environment(built, "init") == {
        "TEST_DATA_GIT_URL": "https://git.example.com/r",
        "TEST_DATA_GIT_REF": "main",
        "TEST_DATA_ALLOWED_HOSTS": "git.example.com",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    assert environment(built, "sidecar") == {"TERMINATION_GRACE": "60s", "HTTPS_PROXY": "http://proxy:3128"}
    assert "HTTPS_PROXY" not in environment(built)
    assert job_problems(built.job) == []


def test_the_token_for_a_dataset_reaches_init_alone():
    data = {"hf": {"repo_id": "o/d", "secret_ref": "hf"}}
    built = manifests(a_request(benchmark={"test_data_ref": data}))
    assert volume(built, "test-data-hf-auth")["secret"]["secretName"] == "hf"
    where = [
        name
        for name in ("init", "sidecar", "adapter")
        if "test-data-hf-auth" in mounted(built, name).values()
    ]
    assert where == ["init"]


def test_fetching_needs_an_image_for_it():
    data = {"hf": {"repo_id": "o/d"}}
    assert "service.eval_init_image" in refusal(
        a_request(benchmark={"test_data_ref": data}), here(service={})
    )


def test_a_secret_for_data_has_the_name_of_an_object():
    data = {"s3": {"bucket": "b", "key": "k", "secret_ref": "A/b"}}
    text = refusal(a_request(benchmark={"test_data_ref": data}))
    assert text.startswith("test_data_ref.s3.secret_ref:")


# --- Sidecar ---


def test_the_sidecar_has_defaults_of_its_own():
    built = manifests(a_request(), here(sidecar={}))
    sidecar = container(built, "sidecar")
    assert sidecar["image"] == "eval-runtime-sidecar:latest"
    assert sidecar["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"},
    }  # fmt: skip
    assert sidecar["startupProbe"]["httpGet"]["port"] == 8080


def test_the_port_of_the_sidecar_is_that_of_its_address():
    built = manifests(a_request(), here(sidecar={"base_url": "http://127.0.0.1:9000"}))
    assert container(built, "sidecar")["startupProbe"]["httpGet"]["port"] == 9000
    assert file_of(built, "job.json")["callback_url"] == "http://127.0.0.1:9000"


def test_the_path_that_lets_a_jobs_reports_in_stays_behind_the_sidecar():
    spec = run_of(a_request()).spec
    own = replace(spec, callback_url="https://evalhub:8443/callback/t0ken")
    assert json.loads(job_json(own, "http://127.0.0.1:9000/"))["callback_url"] == (
        "http://127.0.0.1:9000/callback/t0ken"
    )


def test_what_is_configured_for_the_sidecar_reaches_it():
    configured = {
        "base_url": "http://localhost:8080",
        "eval_hub": {
            "base_url": "https://hub:1", "ca_cert_path": "/ca", "insecure_skip_verify": True, "token_cache_timeout": "1m",
        },
        "oci": {"ca_cert_path": "/oci", "http_timeout": "5s"},
        "model": {"http_timeout": 1_500_000_000, "sa_token_hosts": []},
        "otel": {"enabled": True, "exporter_type": "otlp-http"},
    }  # fmt: skip
    built = manifests(a_request(), here({}, sidecar=configured))
    assert file_of(built, "sidecar_config.json") == {
        "base_url": "http://localhost:8080",
        "eval_hub": {
            "base_url": "https://hub:1", "ca_cert_path": "/ca", "insecure_skip_verify": True,
            "token_cache_timeout": 60_000_000_000,
        },
        "oci": {"ca_cert_path": "/oci", "http_timeout": 5_000_000_000},
        "model": {"url": "http://m/v1", "http_timeout": 1_500_000_000, "sa_token_hosts": []},
        "samples": {"path": f"{VOLUME}/samples.jsonl", "artifacts_path": f"{VOLUME}/artifacts", "attempt": 1, "tenant": "team-a"},
        "otel": {"enabled": True, "exporter_type": "otlp-http", "service_name": "sidecar"},
    }  # fmt: skip


# --- Sizes ---


def test_what_does_not_fit_into_a_config_map_is_refused():
    text = refusal(a_request(benchmark={"parameters": {"text": "x" * 1024 * 1024}}))
    assert "1048576" in text
    assert "parameters" in text


def test_ids_that_do_not_fit_into_annotations_are_refused():
    assert "262144" in refusal(a_request(), job_id="x" * 256 * 1024)


# --- Hardening ---


def hardened(**settings: Any) -> Manifests:
    return manifests(a_request(), here(OPERATOR, {"hardening": settings}))


def test_a_deadline_and_the_stay_after_the_end_are_seconds():
    built = manifests(a_request(), here(OPERATOR, {"ttl": "10m", "hardening": {"deadline": "1h30m"}}))
    assert built.job["spec"]["ttlSecondsAfterFinished"] == 600
    assert built.job["spec"]["activeDeadlineSeconds"] == 5400


@pytest.mark.parametrize(
    ("setting", "provider", "restarts"),
    [(False, None, False), (True, None, True), (False, True, True), (True, False, False)],
)
def test_only_adapters_that_may_start_again_survive_a_disruption(
    setting: bool, provider: bool | None, restarts: bool
):
    where = here(OPERATOR, {"hardening": {"restart_disrupted": setting}})
    runtime = {} if provider is None else {"restart_disrupted": provider}
    policy = manifests(a_request(), where, runtime=runtime).job["spec"].get("podFailurePolicy")
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert policy == ({"rules": [rule]} if restarts else None)


def test_the_end_of_the_log_can_be_the_message_of_adapter_and_init():
    data = {"hf": {"repo_id": "o/d"}}
    where = here(OPERATOR, {"hardening": {"logs_as_message": True}})
    built = manifests(a_request(benchmark={"test_data_ref": data}), where)
    policies = {
        c: container(built, c).get("terminationMessagePolicy") for c in ("adapter", "init", "sidecar")
    }
    assert policies == {"adapter": "FallbackToLogsOnError", "init": "FallbackToLogsOnError", "sidecar": None}


def test_a_read_only_adapter_has_a_place_for_temporary_files():
    built = hardened(read_only_root=True, volume_size_limit="1Gi")
    assert container(built, "adapter")["securityContext"]["readOnlyRootFilesystem"] is True
    assert mounted(built, "adapter")["/tmp"] == "tmp"
    for name in ("tmp", "data", "termination-file-volume"):
        assert volume(built, name)["emptyDir"] == {"sizeLimit": "1Gi"}


def test_the_pod_itself_can_be_restricted():
    built = hardened(pod_security_context=True, service_links=False, termination_grace="90s")
    assert environment(built, "sidecar") == {"TERMINATION_GRACE": "90s"}  # how long it may keep events
    pod = pod_of(built)
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert (pod["enableServiceLinks"], pod["terminationGracePeriodSeconds"]) == (False, 90)


def test_storage_on_the_node_can_be_limited():
    resources = container(
        hardened(ephemeral_storage_request="1Gi", ephemeral_storage_limit="2Gi"), "adapter"
    )["resources"]
    assert resources["requests"]["ephemeral-storage"] == "1Gi"
    assert resources["limits"]["ephemeral-storage"] == "2Gi"
