"""Builds the manifests of a job as the server would, from a request, provider files and objects of a cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from evalhub_runtime_k8s.hardware import profile_name, read_profile
from evalhub_runtime_k8s.manifest import Facts, Manifests, build, model_secret_name
from evalhub_runtime_k8s.settings import Installation, KubernetesSettings, installation
from evalhub_server.domain import transitions
from evalhub_server.domain.planning import effective_benchmarks, plan, with_queue_kinds
from evalhub_server.domain.provider_normalization import normalize_runtime
from evalhub_server.domain.validation import convert, validate
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.models.job import JobRequest
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.plugins import BenchmarkRun, PluginContext, convert_section

FOLDER = Path(__file__).parents[1] / "fixtures" / "kubernetes"
"""Recorded from the released server: what it was given, and what it created."""

TENANT = "team-a"
OPERATOR = {"EVALHUB_INSTANCE_NAME": "evalhub", "EVALHUB_HARDWARE_PROFILES_NAMESPACE": "opendatahub"}
OWN_VARIABLES = (
    "EVALHUB_SAMPLES_PATH",
    "EVALHUB_ARTIFACTS_PATH",
    "TERMINATION_GRACE",
    "EVALHUB_TEST_DATA_DIR",
)
_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def recorded() -> list[dict[str, Any]]:
    return json.loads((FOLDER / "manifests.json").read_text("utf-8"))


def providers() -> dict[str, ProviderConfig]:
    found: dict[str, ProviderConfig] = {}
    for file in sorted((FOLDER / "config" / "providers").iterdir()):
        document = yaml.safe_load(file.read_text("utf-8"))
        document["runtime"] = normalize_runtime(document["runtime"])
        found[document["id"]] = convert(document, ProviderConfig)
    return found


def here(
    environ: Mapping[str, str] | None = None,
    kubernetes: Mapping[str, Any] | None = None,
    namespace_file: Path = Path("/nowhere"),
    **sections: Any,
) -> Installation:
    """The recorded installation; ``sections`` replace those of its configuration, ``kubernetes`` is ours alone."""
    config = yaml.safe_load((FOLDER / "config" / "config.yaml").read_text("utf-8")) | sections
    settings = convert_section(dict(kubernetes or {}), KubernetesSettings, "kubernetes")
    context = PluginContext(sections=config, callback_url="http://127.0.0.1:8080")
    return installation(settings, context, OPERATOR if environ is None else environ, namespace_file)


def run_of(
    request: Mapping[str, Any],
    index: int = 0,
    *,
    job_id: str = "0b9a1d83-22ec-4f75-93f8-ea0b6c49efb6",
    tenant: str = TENANT,
    runtime: Mapping[str, Any] | None = None,
) -> BenchmarkRun:
    """The run of benchmark ``index``; ``runtime`` adds to the ``runtime.k8s`` of every provider."""
    parsed = convert(dict(request), JobRequest)
    validate(parsed, "JobRequest")
    parsed = with_queue_kinds(parsed)
    known = providers()
    for config in known.values():
        config.runtime["k8s"] |= runtime or {}
    job_plan = plan(parsed, None, effective_benchmarks(parsed, None), known)
    job = transitions.new_job(job_id, parsed, job_plan, datetime(2026, 1, 1, tzinfo=UTC), tenant=tenant)
    return RunBuilder("http://127.0.0.1:8080", "k8s", [])(job, index)


def objects_of_cluster() -> list[dict[str, Any]]:
    return json.loads((FOLDER / "cluster.json").read_text("utf-8"))


def facts_of(run: BenchmarkRun, objects: Iterable[Mapping[str, Any]] | None = None) -> Facts:
    """What the runtime would read in a cluster with these objects."""
    found = {
        (item["kind"], item["metadata"]["name"]): dict(item)
        for item in (objects_of_cluster() if objects is None else objects)
    }
    secret = found.get(("Secret", model_secret_name(run)))
    profile = profile_name(run.hardware)
    return Facts(
        mlflow_bundle=("ConfigMap", "evalhub-mlflow-ca-bundle") in found,
        model_secret=secret["data"] if secret else None,
        profile=read_profile(profile, found["HardwareProfile", profile]) if profile else None,
    )


def manifests(request: Mapping[str, Any], where: Installation | None = None, **options: Any) -> Manifests:
    """What is created for benchmark 0 in the recorded cluster; ``options`` are those of :func:`run_of`."""
    run = run_of(request, **options)
    return build(run, where or here(), facts_of(run))


def normalised(built: Manifests) -> dict[str, Any]:
    """Objects by kind, as the recording has them: the files of the ConfigMap parsed, the unique part of names hidden."""
    return _normal({item["kind"]: item for item in (built.secret, built.config_map, built.job) if item})


def as_recorded(objects: Mapping[str, Any], job_id: str, recorded_id: str) -> dict[str, Any]:
    """Like :func:`normalised`, for objects by kind that belong to another job than the recorded one."""
    text = json.dumps(objects).replace(job_id, recorded_id)
    for length in (26, 21, 16):  # what fits of it into the names of Job, ConfigMap and Secret
        cut = job_id[:length].strip("-")
        text = text.replace(f'"{cut}-', f'"{recorded_id[:length].strip("-")}-')
    return _normal(json.loads(text))


def _normal(objects: Mapping[str, Any]) -> dict[str, Any]:
    plain = json.loads(_GUID.sub("GUID", json.dumps(objects)))
    files = plain["ConfigMap"]["data"]
    plain["ConfigMap"]["data"] = {name: json.loads(text) for name, text in files.items()}
    return without_samples(plain)


def without_samples(objects: dict[str, Any]) -> dict[str, Any]:
    """The objects without what the released server does not have: the volume for samples, and some variables."""
    plain = json.loads(json.dumps(objects))
    job_spec, config = (plain["ConfigMap"]["data"][name] for name in ("job.json", "sidecar_config.json"))
    for document, names in ((job_spec, ("samples_path", "artifacts_path")), (config, ("samples",))):
        for name in names:
            document.pop(name, None)
    pod = plain["Job"]["spec"]["template"]["spec"]
    pod.pop("terminationGracePeriodSeconds", None)
    pod["volumes"] = [each for each in pod["volumes"] if each["name"] != "samples"]
    for container in (*pod["containers"], *pod["initContainers"]):
        container["volumeMounts"] = [
            each for each in container.get("volumeMounts", []) if each["name"] != "samples"
        ]
        env = [each for each in container.pop("env", []) if each["name"] not in OWN_VARIABLES]
        if env:
            container["env"] = env
    return plain


def acceptable(case: str, objects: Mapping[str, Any]) -> dict[str, Any]:
    """The recording of a case without what no cluster accepts."""
    accepted = json.loads(json.dumps(objects))
    pod = accepted["Job"]["spec"]["template"]["spec"]
    # Kueue's priorities are not the cluster's: a pod with the name of one is refused.
    pod.pop("priorityClassName", None)
    if case == "base: j3, benchmark 3":  # a request of 2 CPUs with a limit of 1 is refused, too
        pod["containers"][0]["resources"]["limits"]["cpu"] = "2"
    return accepted
