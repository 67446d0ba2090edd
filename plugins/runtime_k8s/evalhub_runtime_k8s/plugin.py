"""Plugin descriptor of the Kubernetes runtime; its client is imported when the runtime is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_runtime_k8s.settings import KubernetesSettings
from evalhub_server.plugins import Descriptor, PluginContext, StartupError, hookimpl

if TYPE_CHECKING:
    from evalhub_runtime_k8s.runtime import KubernetesRuntime


def make_runtime(settings: KubernetesSettings, context: PluginContext) -> KubernetesRuntime:
    """Create the runtime, not yet connected. Raises :class:`SettingsError` for a bad value."""
    import os

    from evalhub_runtime_k8s.settings import installation
    from evalhub_runtime_k8s.validation import check

    try:
        from evalhub_runtime_k8s.runtime import KubernetesRuntime  # only when selected
    except ModuleNotFoundError as error:
        raise StartupError(
            f"runtime 'kubernetes' needs the package {error.name}; install it with: pip install 'eval-hub-server[k8s]'"
        ) from error
    here = installation(settings, context, os.environ)
    check(here)
    return KubernetesRuntime(here)


@hookimpl
def evalhub_runtimes() -> list[Descriptor[KubernetesRuntime, KubernetesSettings]]:
    return [
        Descriptor(
            api=1,
            name="kubernetes",
            factory=make_runtime,
            settings=KubernetesSettings,
            help="adapters as Jobs of a Kubernetes cluster",
        )
    ]
