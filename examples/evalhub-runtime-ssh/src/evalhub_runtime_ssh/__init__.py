"""A runtime for EvalHub Server: adapters are processes of this host, or by ssh of another, that outlive the server."""

from __future__ import annotations

import os
import tempfile
from typing import Annotated

from msgspec import Meta, Struct

from evalhub_server.plugins import Descriptor, PluginContext, Runtime, hookimpl


class Settings(Struct, kw_only=True, frozen=True):
    """Section ``ssh`` of config.yaml."""

    host: Annotated[
        str,
        Meta(
            description="Where adapters run, as ssh names it; by default on this host.",
            examples=["evaluator@gpu-1.example.com"],
        ),
    ] = ""
    options: Annotated[
        tuple[str, ...],
        Meta(
            description="Options of ssh. It must log in without questions and notice a broken connection.",
            examples=[["-o", "BatchMode=yes", "-p", "2222"]],
        ),
    ] = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15")
    python: Annotated[
        str, Meta(description="Python of the other host, 3.9 or newer.", examples=["/usr/bin/python3"])
    ] = "python3"
    directory: Annotated[
        str,
        Meta(
            description="Where workloads are kept, on the host that runs them; by default in the data directory or `~/.evalhub-workloads`.",
            examples=["/var/lib/evalhub/workloads"],
        ),
    ] = ""


@hookimpl
def evalhub_runtimes() -> list[Descriptor[Runtime, Settings]]:
    return [
        Descriptor(
            api=1,
            name="ssh",
            factory=_make,
            settings=Settings,
            help="adapters as processes of this or another host (example)",
        )
    ]


def _make(settings: Settings, context: PluginContext) -> Runtime:
    from evalhub_runtime_ssh.runtime import SshRuntime

    if settings.directory or settings.host:
        directory = settings.directory or "~/.evalhub-workloads"
    elif context.data_dir is not None:
        directory = str(context.data_dir / "ssh")
    else:
        directory = os.path.join(tempfile.gettempdir(), f"evalhub-ssh-{os.getuid()}")  # noqa: PTH118
    return SshRuntime(settings, directory, context.secrets)
