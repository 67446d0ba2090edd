"""``sidecar_config.json``: the configuration of a benchmark's sidecar, and the URLs that lead to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from evalhub_runtime_k8s import paths
from evalhub_runtime_k8s.settings import Installation
from evalhub_server.plugins import Duration, Json, SidecarUrls

MODEL_TIMEOUT_S = 300
MLFLOW_TIMEOUT_S = 30


def sidecar_config(
    installation: Installation,
    *,
    tenant: str,
    model_url: str,
    model_auth: bool,
    mlflow_ca_file: str,
    has_revision: bool,
    attempt: int,
) -> Json:
    """``model_auth``: credentials are mounted. ``mlflow_ca_file``: see :func:`mlflow_ca_file`. Durations are nanoseconds."""
    settings = installation.sidecar
    config: Json = {"base_url": installation.base_url, "eval_hub": _eval_hub(installation, tenant)}
    if installation.mlflow.tracking_uri:
        mlflow = settings.mlflow
        timeout = mlflow.http_timeout or installation.mlflow.http_timeout or Duration(MLFLOW_TIMEOUT_S)
        config["mlflow"] = _without_empty(
            tracking_uri=installation.mlflow.tracking_uri,
            token_path=paths.MLFLOW_TOKEN_FILE,
            workspace=tenant,
            ca_cert_path=mlflow_ca_file,
            http_timeout=_ns(timeout),
            token_cache_timeout=_ns(mlflow.token_cache_timeout),
        )
    oci = _without_empty(
        ca_cert_path=settings.oci.ca_cert_path,
        http_timeout=_ns(settings.oci.http_timeout),
        allowed_realms=list(settings.oci.allowed_realms),
    )
    if oci:
        config["oci"] = oci
    if model_url:
        config["model"] = _without_empty(
            url=model_url,
            auth_secret_mount_path=paths.MODEL_AUTH if model_auth else "",
            http_timeout=_ns(settings.model.http_timeout or Duration(MODEL_TIMEOUT_S)),
            insecure_skip_verify=settings.model.insecure_skip_verify,
        )
        if settings.model.sa_token_hosts is not None:  # absent and an empty list differ
            config["model"]["sa_token_hosts"] = list(settings.model.sa_token_hosts)
    if has_revision:
        config["init_container"] = {
            "is_git_job": True
        }  # the name is older than the other sources of revisions
    if installation.settings.samples_volume_limit:
        config["samples"] = _without_empty(
            path=paths.SAMPLES_FILE, artifacts_path=paths.ARTIFACTS, attempt=attempt, tenant=tenant
        )
    if settings.otel.get("enabled"):
        config["otel"] = {**settings.otel, "service_name": settings.otel.get("service_name") or "sidecar"}
    return config


def sidecar_urls(installation: Installation) -> SidecarUrls:
    """Return the real addresses behind a pod's sidecar, for messages that adapters report."""
    server = _eval_hub(installation, "").get("base_url", "")
    return SidecarUrls(installation.base_url, server, installation.mlflow.tracking_uri)


def _eval_hub(installation: Installation, tenant: str) -> Json:
    settings = installation.sidecar.eval_hub
    base_url = settings.base_url or installation.server_url
    ca_file = settings.ca_cert_path
    if installation.instance:
        namespace = installation.own_namespace(tenant)
        base_url = f"https://{installation.instance}.{namespace}.svc.cluster.local:8443"
        ca_file = paths.SERVICE_CA_FILE
    return _without_empty(
        base_url=base_url,
        ca_cert_path=ca_file,
        insecure_skip_verify=settings.insecure_skip_verify,
        http_timeout=_ns(settings.http_timeout),
        token_cache_timeout=_ns(settings.token_cache_timeout),
    )


def mlflow_ca_file(installation: Installation, *, bundle: bool) -> str:
    """Return the CA file for MLflow: the tenant's bundle, the configured file, the cluster's, or an empty string."""
    if bundle:
        return paths.MLFLOW_CA_FILE
    configured = installation.sidecar.mlflow.ca_cert_path or installation.mlflow.ca_cert_path
    # The operator always configures the path of the bundle; without the bundle the file does not exist.
    if configured and configured != paths.MLFLOW_CA_FILE:
        return configured
    return paths.SERVICE_CA_FILE if installation.instance else ""


def _ns(duration: Duration | None) -> int:
    return round(duration * 1e9) if duration else 0


def _without_empty(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value}


def sidecar_url(url: str, base_url: str) -> str:
    """Return ``url`` with the sidecar's scheme and host and its own path and query, without trailing slash."""
    if not url.strip():
        return ""
    sidecar, parts = urlsplit(base_url), urlsplit(url.strip())
    return urlunsplit((sidecar.scheme, sidecar.netloc, parts.path, parts.query, "")).removesuffix("/")
