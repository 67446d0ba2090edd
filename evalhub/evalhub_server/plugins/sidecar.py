"""``sidecar:`` the program between adapters and everything that they talk to, as types."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from evalhub_server.plugins.sections import Duration


class SidecarLocal(Struct, kw_only=True, frozen=True):
    """``sidecar.local``."""

    job_cache_sweep_interval: Duration = Duration(5400)
    job_cache_entry_ttl: Duration = Duration(7200)


class SidecarEvalHub(Struct, kw_only=True, frozen=True):
    """``sidecar.eval_hub``: how the sidecar reaches this server."""

    base_url: str = ""
    http_timeout: Duration | None = None
    ca_cert_path: str = ""
    insecure_skip_verify: bool = False
    token: str = ""
    token_cache_timeout: Duration | None = None


class SidecarMlflow(Struct, kw_only=True, frozen=True):
    """``sidecar.mlflow``."""

    tracking_uri: str = ""
    token_path: str = ""
    workspace: str = ""
    token_cache_timeout: Duration | None = None
    http_timeout: Duration | None = None
    ca_cert_path: str = ""


class SidecarOci(Struct, kw_only=True, frozen=True):
    """``sidecar.oci``."""

    ca_cert_path: str = ""
    http_timeout: Duration | None = None


class SidecarModel(Struct, kw_only=True, frozen=True):
    """``sidecar.model``. ``sa_token_hosts``: the models outside the cluster that get the pod's own token."""

    url: str = ""
    auth_secret_mount_path: str = ""
    http_timeout: Duration | None = None
    insecure_skip_verify: bool = False
    sa_token_hosts: tuple[str, ...] | None = None


class Amounts(Struct, kw_only=True, frozen=True):
    """Kubernetes quantities, such as ``100m`` and ``64Mi``."""

    cpu: str = ""
    memory: str = ""


class Resources(Struct, kw_only=True, frozen=True):
    """What a container asks for, and what it may have."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


class SidecarContainer(Struct, kw_only=True, frozen=True):
    """``sidecar.sidecar_container``."""

    image: str = ""
    resources: Resources = Resources()


class InitContainer(Struct, kw_only=True, frozen=True):
    """``sidecar.init_container``."""

    is_git_job: bool = False


class SidecarSettings(Struct, kw_only=True, frozen=True):
    """``sidecar:``. ``base_url`` is http or https with a port; ``otel`` is handed to the sidecar as it is."""

    base_url: str = ""
    local_mode: bool = False
    local: SidecarLocal = SidecarLocal()
    eval_hub: SidecarEvalHub = SidecarEvalHub()
    mlflow: SidecarMlflow = SidecarMlflow()
    oci: SidecarOci = SidecarOci()
    model: SidecarModel = SidecarModel()
    sidecar_container: SidecarContainer = SidecarContainer()
    init_container: InitContainer = InitContainer()
    otel: dict[str, Any] = field(default_factory=dict[str, Any])
