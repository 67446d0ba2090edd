"""The settings of a provider for the runtimes ``k8s`` and ``local``: how each starts the adapter."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from evalhub_server.models.common import Int64
from evalhub_server.models.rules import one_of

PULL_POLICY = one_of("if_not_present", "always")
ENVIRONMENT = one_of("lm_evaluation_harness", "inspect", "garak")
"""The frameworks that have a managed environment."""


class Variable(Struct, kw_only=True, frozen=True):
    """An environment variable of an adapter."""

    name: str = ""
    value: str = ""


class KubernetesGpu(Struct, kw_only=True, frozen=True):
    """``resource`` is the name of an extended resource, such as ``nvidia.com/gpu``."""

    resource: str | UnsetType = UNSET
    count: Int64 = 0
    node_selector: dict[str, str] | UnsetType = UNSET


class KubernetesRuntime(Struct, kw_only=True, frozen=True):
    """``runtime.k8s`` of a provider. Quantities are those of Kubernetes, such as ``500m`` or ``4Gi``."""

    image: str | UnsetType = UNSET
    entrypoint: tuple[str, ...] | UnsetType = UNSET
    cpu_request: str | UnsetType = UNSET
    memory_request: str | UnsetType = UNSET
    cpu_limit: str | UnsetType = UNSET
    memory_limit: str | UnsetType = UNSET
    gpu: KubernetesGpu | UnsetType = UNSET
    env: tuple[Variable, ...] | UnsetType = UNSET
    image_pull_policy: Annotated[str | UnsetType, PULL_POLICY] = UNSET


class LocalVariable(Variable, kw_only=True, frozen=True):
    """An environment variable of an adapter in local mode.

    ``value`` is literal. ``value_from_env`` names a variable in the environment that the adapter inherits, which lacks the
    server's secrets; if it is not set there, the adapter does not get this one either.
    """

    value_from_env: str | UnsetType = UNSET


class LocalRuntime(Struct, kw_only=True, frozen=True):
    """``runtime.local`` of a provider: a shell command and variables for its environment.

    ``environment`` names a framework that ``eval-hub-server adapters install`` has installed: the command runs with its
    programs first on ``PATH``, in the job directory. ``venv`` is the path of another virtual environment, whose programs come
    first on ``PATH``. Only one of the two may be given.
    """

    command: str | UnsetType = UNSET
    env: tuple[LocalVariable, ...] | UnsetType = UNSET
    environment: Annotated[str | UnsetType, ENVIRONMENT] = UNSET
    venv: Annotated[str, Meta(extra_json_schema={"pattern": "^~?/[^\\u0000]*$"})] | UnsetType = UNSET


class KnownRuntimes(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The entries of a provider's ``runtime`` that the server validates."""

    k8s: KubernetesRuntime | None = None
    local: LocalRuntime | None = None
