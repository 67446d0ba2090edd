"""Connection to a cluster: the service account of this pod, else kubeconfig; loaded again when the API rejects it."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, cast

import structlog
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration

from evalhub_runtime_k8s.paths import SERVICE_ACCOUNT
from evalhub_server.plugins import StartupError

log = structlog.get_logger()

RELOAD_INTERVAL_S = 1.0
"""Least time between two reloads: each may run a program."""
RELOAD_TIMEOUT_S = 30.0
CONNECTION = ("host", "ssl_ca_cert", "cert_file", "key_file", "verify_ssl", "tls_server_name", "proxy")
"""What a connection depends on; with other values, connections are opened by a new client."""


class Credentials:
    """A client with the current credentials. :meth:`open` first, :meth:`close` last.

    Tokens in a file (``tokenFile``) and those that a program supplies (``exec``, as in EKS, GKE and AKS) are valid for
    minutes or hours; kubernetes_asyncio reads them once, and the token of a pod once a minute.
    """

    def __init__(self) -> None:
        self._client: Any = None  # an ApiClient; it is only partly typed
        self._retired: list[Any] = []
        self._loading = asyncio.Lock()
        self._loaded_s = 0.0
        self.host = ""

    @property
    def client(self) -> Any:
        assert self._client is not None, "call open() first"  # noqa: S101
        return self._client

    async def open(self) -> None:
        """Raises :class:`StartupError`."""
        configuration = await load_configuration()
        self.host = str(configuration.host)
        self._client = ApiClient(configuration)

    async def reload(self, rejected: Any) -> bool:
        """Load credentials again after the API has rejected those of a client; False if there are no others yet."""
        token = _token(rejected)
        async with self._loading:
            if self._client is not rejected or _token(rejected) != token:
                return True  # by another request
            if time.monotonic() - self._loaded_s < RELOAD_INTERVAL_S:
                return False
            self._loaded_s = time.monotonic()
            try:
                async with asyncio.timeout(RELOAD_TIMEOUT_S):
                    loaded = await load_configuration()
            except (StartupError, TimeoutError) as error:
                text = str(error) or f"not done within {RELOAD_TIMEOUT_S:.12g} seconds"
                log.warning("Credentials of the cluster cannot be loaded", error=text)
                return False
            return self._use(loaded)

    def _use(self, loaded: Configuration) -> bool:
        old, new = self._client.configuration, cast("Any", loaded)
        if new.cert_file or any(getattr(old, name) != getattr(new, name) for name in CONNECTION):
            # Requests and watches of the old client go on; the files of a certificate may have changed in place.
            self._retired.append(self._client)
            self._client = ApiClient(new)
            self.host = str(new.host)
        elif old.api_key == new.api_key:
            return False
        else:
            old.api_key = new.api_key
            old.refresh_api_key_hook = new.refresh_api_key_hook
        log.info("Credentials of the cluster loaded again", host=self.host)
        return True

    async def close(self) -> None:
        clients = [*self._retired, *([] if self._client is None else [self._client])]
        self._client, self._retired = None, []
        for client in clients:
            await client.close()


def _token(client: Any) -> object:
    return client.configuration.api_key.get("BearerToken")


async def load_configuration() -> Configuration:
    """Load the service account of this pod, else kubeconfig. Raises :class:`StartupError`."""
    configuration = Configuration()
    # Unlimited: watches and followed logs keep connections, and the 101st request would wait in vain for one of them.
    configuration.connection_pool_maxsize = 0
    loader = cast("Any", config)  # untyped functions
    try:
        loader.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as not_in_cluster:
        try:
            # Passed here because the client reads the variable only once, at import.
            await loader.load_kube_config(
                config_file=os.environ.get("KUBECONFIG") or None, client_configuration=configuration
            )
        except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            named = os.environ.get("KUBECONFIG") or "~/.kube/config"
            raise StartupError(
                f"runtime 'kubernetes': no cluster found. This process is not in a pod ({str(not_in_cluster).rstrip('.')}; a pod has "
                f"its token in {SERVICE_ACCOUNT}), and {named} is not a usable kubeconfig: {error}. Set KUBECONFIG."
            ) from error
    return configuration
