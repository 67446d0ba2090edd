"""Finding the cluster: that of this pod, else kubeconfig's."""

from __future__ import annotations

import os
from typing import Any, cast

from kubernetes_asyncio import config
from kubernetes_asyncio.client import Configuration

from evalhub_runtime_k8s.paths import SERVICE_ACCOUNT
from evalhub_server.plugins import StartupError


async def load_configuration() -> Configuration:
    """That of the pod in which this server runs, else of kubeconfig. Raises :class:`StartupError`."""
    configuration = Configuration()
    loader = cast("Any", config)  # its functions have no types
    try:
        loader.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as outside:
        try:
            # Named here because the client has read the variable when it was imported, whenever that was.
            await loader.load_kube_config(
                config_file=os.environ.get("KUBECONFIG") or None, client_configuration=configuration
            )
        except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            named = os.environ.get("KUBECONFIG") or "~/.kube/config"
            raise StartupError(
                f"runtime 'kubernetes' finds no cluster. This is no pod of one ({str(outside).rstrip('.')}; a pod has "
                f"its token in {SERVICE_ACCOUNT}), and there is no usable kubeconfig at {named}: {error}. Name one with "
                "KUBECONFIG=…, or start with --local to run adapters as processes of this computer."
            ) from error
    return configuration
