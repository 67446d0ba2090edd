"""Prerequisites of a benchmark that are read from the cluster: hardware profile, secret, CA bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import structlog

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import CONFIG_MAPS, SECRETS, Resource
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.cluster_state import refusal_in_namespace
from evalhub_runtime_k8s.hardware import (
    PROFILE_GROUP,
    PROFILE_PLURAL,
    PROFILE_VERSION,
    HardwareProfile,
    profile_name,
    read_profile,
)
from evalhub_runtime_k8s.manifest import Facts, model_secret_name
from evalhub_runtime_k8s.names import mlflow_ca_bundle
from evalhub_runtime_k8s.settings import Installation
from evalhub_server.plugins import (
    ApiError,
    BenchmarkRun,
    EvalHubError,
    Json,
    LaunchError,
    RuntimeUnavailable,
    problems,
)

log = structlog.get_logger()

PROFILES = Resource(f"apis/{PROFILE_GROUP}/{PROFILE_VERSION}", PROFILE_PLURAL, "HardwareProfile")
CA_KEY = "ca-bundle.crt"


async def read_facts(run: BenchmarkRun, installation: Installation, api: KubernetesApi) -> Facts:
    """Read the prerequisites, in the order of the released server. Raises :class:`LaunchError` or :class:`RuntimeUnavailable`."""
    namespace = installation.tenant_namespace(run.tenant)
    profile: HardwareProfile | None = None
    if name := profile_name(run.hardware):
        try:
            profile = await hardware_profile(name, installation, api)
        except ApiError as error:
            raise LaunchError(str(error)) from error
    bundle = await _has_mlflow_bundle(installation, namespace, api)
    secret: Mapping[str, str] | None = None
    if name := model_secret_name(run):
        secret = await _secret(name, namespace, api)
    return Facts(mlflow_bundle=bundle, model_secret=secret, profile=profile)


async def hardware_profile(name: str, installation: Installation, api: KubernetesApi) -> HardwareProfile:
    """Read a hardware profile. Raises :class:`ApiError` (contract codes) or :class:`RuntimeUnavailable`."""
    if not installation.profiles_namespace:
        log.error("EVALHUB_HARDWARE_PROFILES_NAMESPACE is not set")
        raise problems.hardware_profile_fetch_failed(name)
    try:
        found = await api.get(PROFILES, installation.profiles_namespace, name)
    except ApiRefusal as error:
        if error.missing:
            raise problems.hardware_profile_not_found(name) from error
        log.error("Hardware profile cannot be read", profile=name, error=str(error))
        raise problems.hardware_profile_fetch_failed(name) from error
    return read_profile(name, found)


async def _has_mlflow_bundle(installation: Installation, namespace: str, api: KubernetesApi) -> bool:
    """Is there a CA bundle for MLflow? If it cannot be read, the CA of the cluster's services is used."""
    if not installation.mlflow.tracking_uri or not installation.instance:
        return False
    name = mlflow_ca_bundle(installation.instance)
    try:
        found = await api.find(CONFIG_MAPS, namespace, name)
    except EvalHubError as error:
        log.warning("CA bundle of MLflow cannot be read", config_map=name, error=str(error))
        return False
    return bool(str(_data(found).get(CA_KEY, "")).strip())


async def _secret(name: str, namespace: str, api: KubernetesApi) -> Mapping[str, str] | None:
    try:
        found = await api.find(SECRETS, namespace, name)
    except RuntimeUnavailable:
        raise
    except EvalHubError as error:
        cause = refusal_in_namespace(error, namespace) if isinstance(error, ApiRefusal) else str(error)
        raise LaunchError(f"The secret '{name}' of model.auth.secret_ref cannot be read: {cause}.") from error
    return None if found is None else {key: str(value) for key, value in _data(found).items()}


def _data(found: Json | None) -> dict[str, Any]:
    data = (found or {}).get("data")
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}
