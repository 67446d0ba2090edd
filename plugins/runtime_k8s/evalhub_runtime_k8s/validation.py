"""Validation of the Kubernetes settings at start, beyond their types."""

from __future__ import annotations

import re
from decimal import Decimal

from evalhub_runtime_k8s.names import is_object_name
from evalhub_runtime_k8s.resources import SIDECAR_DEFAULTS, container_resources, quantity
from evalhub_runtime_k8s.settings import Installation, KubernetesSettings
from evalhub_server.plugins import SettingsError

SIDECAR = "sidecar.sidecar_container.resources"
HARDENING = "kubernetes.hardening"
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def check(installation: Installation) -> None:
    """Raise :class:`SettingsError` for values that no cluster accepts."""
    account = installation.settings.service_account
    if account and not is_object_name(account):
        raise SettingsError(
            f"kubernetes.service_account: '{account}' is not a valid name of a service account."
        )
    _check_numbers(installation.settings)
    _check_variables(installation.settings)
    hardening = installation.settings.hardening
    if hardening.volume_size_limit:
        _amount(f"{HARDENING}.volume_size_limit", hardening.volume_size_limit)
    if limit := installation.settings.samples_volume_limit:
        _amount("kubernetes.samples_volume_limit", limit)
    _pair(
        HARDENING,
        ("ephemeral_storage_request", hardening.ephemeral_storage_request),
        ("ephemeral_storage_limit", hardening.ephemeral_storage_limit),
    )
    resources = container_resources(installation.sidecar.sidecar_container.resources, SIDECAR_DEFAULTS)
    for name in ("cpu", "memory"):
        _pair(
            SIDECAR,
            (f"requests.{name}", resources["requests"][name]),
            (f"limits.{name}", resources["limits"][name]),
        )


def _check_numbers(settings: KubernetesSettings) -> None:
    if not settings.poll_interval:
        raise SettingsError("kubernetes.poll_interval: must be more than 0; write for example 15s")
    for key in ("parallel_launches", "max_parallel"):
        value: int | None = getattr(settings, key)
        if value is not None and value < 1:
            raise SettingsError(
                f"kubernetes.{key}: must be 1 or more, is {value}; leave it out for the default"
            )


def _check_variables(settings: KubernetesSettings) -> None:
    for key, variables in (("init_env", settings.init_env), ("sidecar_env", settings.sidecar_env)):
        for name in variables:
            if not _VARIABLE.fullmatch(name):
                raise SettingsError(
                    f"kubernetes.{key}: '{name}' is not a valid name of an environment variable."
                )


def _pair(section: str, request: tuple[str, str], limit: tuple[str, str]) -> None:
    amounts = [_amount(f"{section}.{key}", text) if text else None for key, text in (request, limit)]
    if amounts[0] is not None and amounts[1] is not None and amounts[0] > amounts[1]:
        raise SettingsError(
            f"{section}.{request[0]}: {request[1]} is above {section}.{limit[0]}, which is {limit[1]}; "
            "lower it or raise the limit."
        )


def _amount(key: str, text: str) -> Decimal:
    try:
        return quantity(text)
    except ValueError as error:
        raise SettingsError(f"{key}: {error}") from None
