"""Manifests of all objects of one benchmark, built without access to the API."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evalhub_runtime_k8s import paths
from evalhub_runtime_k8s.containers import Pod, adapter, init, sidecar
from evalhub_runtime_k8s.credential_refs import references
from evalhub_runtime_k8s.hardware import HardwareProfile, Placement, placement
from evalhub_runtime_k8s.labels import BENCHMARK_INDEX, JOB_ID, annotations_for, labels_for
from evalhub_runtime_k8s.names import Names, names_for, service_account
from evalhub_runtime_k8s.resources import adapter_resources
from evalhub_runtime_k8s.settings import Installation
from evalhub_runtime_k8s.sidecar_config import mlflow_ca_file, sidecar_config, sidecar_url
from evalhub_runtime_k8s.test_data import data_source, object_name
from evalhub_runtime_k8s.volumes import unique_volumes
from evalhub_server.plugins import BenchmarkRun, JobSpec, Json, KubernetesRuntime, LaunchError, Model

CONFIG_MAP_LIMIT_BYTES = 1024 * 1024
ANNOTATIONS_LIMIT_BYTES = 256 * 1024


class Facts(Struct, kw_only=True, frozen=True):
    """Prerequisites of one benchmark, read from the cluster.

    ``mlflow_bundle``: the tenant's namespace has a CA bundle for MLflow. ``model_secret``: ``data`` of the model's
    secret (key to base64), None if it does not exist. ``profile``: the hardware profile.
    """

    mlflow_bundle: bool = False
    model_secret: Mapping[str, str] | None = None
    profile: HardwareProfile | None = None


class Manifests(Struct, kw_only=True, frozen=True):
    """Objects in the order of their creation. ``warnings`` are logged.

    ``network_policy`` is created with the Job as its owner.
    """

    namespace: str
    names: Names
    secret: Json | None
    config_map: Json
    job: Json
    network_policy: Json | None = None
    warnings: tuple[str, ...] = ()


def build(run: BenchmarkRun, installation: Installation, facts: Facts) -> Manifests:
    """Build the manifests. Raises :class:`LaunchError` for values that the API or the pod could not use."""
    provider = _provider(run)
    place = placement(provider, run.hardware, facts.profile, run.queue)
    namespace = installation.tenant_namespace(run.tenant)
    names = names_for(*run.key)
    labels = labels_for(run.spec, run.tenant, installation, place.queue, place.priority)
    metadata: Json = {"namespace": namespace, "labels": labels}
    annotated: Json = {**metadata, "annotations": annotations_for(run.spec)}
    _check_size("the ids of the benchmark", annotated["annotations"], ANNOTATIONS_LIMIT_BYTES)

    secret_name = model_secret_name(run)
    data = _references(run, installation, facts, secret_name)
    bundle = facts.mlflow_bundle and bool(installation.instance)  # its name contains the instance
    ca_file = mlflow_ca_file(installation, bundle=bundle)
    source = data_source(run.test_data)
    pod = Pod(
        run=run,
        provider=provider,
        installation=installation,
        spec_config_map=names.config_map,
        resources=adapter_resources(place.demand, installation.settings.hardening),
        mlflow_bundle=bundle,
        mlflow_ca_file=ca_file,
        model_secret=secret_name,
        reference_secret=names.secret if data else "",
        data=source,
    )
    if run.oci_connection:
        object_name("exports.oci.k8s.connection", run.oci_connection)
    config = sidecar_config(
        installation,
        tenant=run.tenant,
        model_url=run.spec.model.url,
        model_auth=bool(secret_name),
        mlflow_ca_file=ca_file,
        has_revision=source is not None and source.has_revision,
        attempt=run.attempt,
    )
    spec = with_sample_paths(run.spec) if installation.settings.samples_volume_limit else run.spec
    files = {"job.json": job_json(spec, installation.base_url), "sidecar_config.json": _indented(config)}
    _check_size("the job's specification, most of it its parameters,", files, CONFIG_MAP_LIMIT_BYTES)
    return Manifests(
        namespace=namespace,
        names=names,
        secret={
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": names.secret, **metadata},
            "data": data,
        }
        if data
        else None,
        config_map={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": names.config_map, **annotated},
            "data": files,
        },
        job=job_manifest(pod, place, {"name": names.job, **annotated}),
        network_policy=_network_policy({"name": names.job, **annotated})
        if installation.settings.hardening.network_policy
        else None,
        warnings=_warnings(provider, place),
    )


def model_secret_name(run: BenchmarkRun) -> str:
    """Return the name of the tenant's secret with the model's credentials; empty if there is none.

    Raises :class:`LaunchError` for an invalid name.
    """
    model = run.spec.model
    secret_ref = model.auth.secret_ref if model.auth else ""
    return object_name("model.auth.secret_ref", secret_ref) if secret_ref else ""


def with_sample_paths(spec: JobSpec) -> JobSpec:
    """Add the paths on the pod's volume for samples."""
    return replace(spec, samples_path=paths.SAMPLES_FILE, artifacts_path=paths.ARTIFACTS)


def job_json(spec: JobSpec, base_url: str) -> str:
    """Return the adapter's job.json, with the addresses of model and callback replaced by the sidecar's."""
    model: Model = replace(spec.model, url=sidecar_url(spec.model.url, base_url))
    path = urlsplit(spec.callback_url).path.rstrip("/")
    return _indented(
        replace(spec, model=model, callback_url=f"{base_url.rstrip('/')}{path}" if path else base_url)
    )


def owner_reference(job: Json) -> Json:
    """Return the owner reference of ConfigMap and Secret: they are garbage-collected with the Job.

    Without ``blockOwnerDeletion``, which can need rights on finalizers that the server does not have.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"],
        "controller": True,
    }


def _provider(run: BenchmarkRun) -> KubernetesRuntime:
    key = f"runtime.k8s of provider '{run.spec.provider_id}'"
    if run.config is None:
        raise LaunchError(
            f"Kubernetes runtime is not enabled for provider '{run.spec.provider_id}': it has no runtime.k8s."
        )
    try:
        return msgspec.convert(run.config, KubernetesRuntime, strict=False)
    except msgspec.ValidationError as error:
        raise LaunchError(f"{key} cannot be used: {error}") from None


def _references(
    run: BenchmarkRun, installation: Installation, facts: Facts, secret_name: str
) -> dict[str, str]:
    if not secret_name:
        return {}
    if facts.model_secret is None:
        raise LaunchError(
            f"The secret '{secret_name}' of model.auth.secret_ref does not exist in the namespace "
            f"'{installation.tenant_namespace(run.tenant)}'; create it and submit the job again."
        )
    if not run.spec.model.url:
        return {}
    return references(secret_name, facts.model_secret, installation.base_url)


def _network_policy(metadata: Json) -> Json:
    """Deny ingress to the pod; its containers still reach each other on loopback."""
    labels = {key: metadata["labels"][key] for key in ("app", JOB_ID, BENCHMARK_INDEX)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"]},
    }


def _warnings(provider: KubernetesRuntime, place: Placement) -> tuple[str, ...]:
    if not place.queue or not provider.gpu or not provider.gpu.node_selector:
        return ()
    text = f"The queue '{place.queue}' decides on which nodes the benchmark runs; the provider's node selector is ignored."
    return (text,)


def _indented(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _check_size(subject: str, texts: Mapping[str, str], limit_bytes: int) -> None:
    size = sum(len(key.encode()) + len(text.encode()) for key, text in texts.items())
    if size > limit_bytes:
        raise LaunchError(f"{subject} take {size} bytes; Kubernetes allows {limit_bytes}. Make them smaller.")


def job_manifest(pod: Pod, place: Placement, metadata: Json) -> Json:
    """Return the Job. ``metadata``: name, namespace, labels and annotations; the pod gets the last two as well."""
    settings, hardening = pod.installation.settings, pod.hardening
    spec: Json = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": round(settings.ttl),
        "template": {
            "metadata": {"labels": metadata["labels"], "annotations": metadata["annotations"]},
            "spec": _pod_spec(pod, place),
        },
    }
    if hardening.deadline:
        spec["activeDeadlineSeconds"] = max(1, round(hardening.deadline))
    if _restarts(pod):
        spec["podFailurePolicy"] = {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
            ]
        }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _restarts(pod: Pod) -> bool:
    own = (pod.run.config or {}).get("restart_disrupted")
    return own if isinstance(own, bool) else pod.hardening.restart_disrupted


def _pod_spec(pod: Pod, place: Placement) -> Json:
    containers = [adapter(pod)]
    before = [container for container in (init(pod), sidecar(pod)) if container is not None]
    # The order of the volumes; the sidecar shares most of the adapter's.
    naming = [*containers, *before]
    spec: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "initContainers": [container.plain() for container in before],
        "containers": [container.plain() for container in containers],
        "volumes": unique_volumes(mount for container in naming for mount in container.mounts),
    }
    installation, hardening = pod.installation, pod.hardening
    account = installation.settings.service_account
    if not account and installation.instance:
        account = service_account(installation.instance, installation.own_namespace(pod.run.tenant))
    if account:
        spec["serviceAccountName"] = account
    if place.node_selector:
        spec["nodeSelector"] = place.node_selector
    if place.tolerations:
        spec["tolerations"] = list(place.tolerations)
    if grace_s := installation.termination_grace_s:
        spec["terminationGracePeriodSeconds"] = grace_s
    if hardening.pod_security_context:
        spec["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if not hardening.service_links:
        spec["enableServiceLinks"] = False
    return spec
