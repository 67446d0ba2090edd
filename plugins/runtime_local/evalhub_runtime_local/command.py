"""The adapter command of a provider (``runtime.local``) and the environment that it runs in."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from msgspec import Struct

from evalhub_runtime_local.attempt_files import JOB_SPEC_PATH, Attempt
from evalhub_runtime_local.environments import (
    AdapterEnvironment,
    find_adapter_environment,
    with_packages,
)
from evalhub_runtime_local.process_tree import SERVER_MARKER
from evalhub_runtime_local.test_data import DIRECTORY
from evalhub_server.plugins import AdaptersError, BenchmarkRun, LaunchError, Readiness

PREVIOUS_SAMPLES = "EVALHUB_PREVIOUS_SAMPLES_PATH"
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


_PLAIN = re.compile(r"[\w@%+=:,./-]+(?:[ \t]+[\w@%+=:,./-]+)*", re.ASCII)


class Command(Struct, kw_only=True, frozen=True):
    """A shell command. ``env`` is literal (no ``$VAR`` is expanded); ``cwd`` is absolute, empty: the server's own.

    ``env_from`` names variables of the inherited environment, by the variables that get their values. ``job_cwd``: the command
    runs in its benchmark's directory.
    """

    text: str
    env: Mapping[str, str] = {}
    env_from: Mapping[str, str] = {}
    cwd: str = ""
    job_cwd: bool = False
    environment: AdapterEnvironment | None = None


def parse_command(run: BenchmarkRun, default_cwd: str = "") -> Command:
    """Parse ``run.config``. Raises :class:`LaunchError` naming the provider and the key."""
    provider = run.spec.provider_id
    config = run.config or {}
    text = config.get("command")
    if text is None or (isinstance(text, str) and not text.strip()):
        raise LaunchError(
            f"Local runtime is not enabled for provider '{provider}'. "
            "Please configure a local runtime command for this provider and try again."
        )
    if not isinstance(text, str) or "\0" in text:
        raise _invalid(provider, "command", "must be a text without NUL characters")
    environment = find_adapter_environment(config)
    if isinstance(environment, Readiness):
        raise LaunchError(
            f"Provider '{provider}' cannot run on this computer: {environment.reason}. {environment.fix}"
        )
    cwd = _cwd(run, default_cwd)
    env, env_from = _env(provider, config.get("env"))
    # A data set in the user's directory would replace one of the same name on the hub.
    job_cwd = environment is not None and bool(environment.framework) and not cwd
    return Command(text=text, env=env, env_from=env_from, cwd=cwd, job_cwd=job_cwd, environment=environment)


def plain_words(text: str, path: str) -> tuple[str, tuple[str, ...]] | None:
    """The program and the words of a command without shell syntax; None if a shell must interpret it.

    ``path`` is the PATH of the command. A shell that only starts a program would cost the start of the shell.
    """
    text = text.strip()
    if not _PLAIN.fullmatch(text):
        return None
    words = tuple(text.split())
    if words[0] == "exec":
        words = words[1:]
    if not words or "=" in words[0]:
        return None
    program = words[0]
    if program.startswith("/"):
        return (program, words) if _is_program(program) else None
    found = shutil.which(program, path=path) or ""
    return (found, words) if found.startswith("/") else None


def _is_program(path: str) -> bool:
    """Is there a file that can be executed?"""
    with suppress(OSError):
        mode = os.stat(path).st_mode  # noqa: PTH116  a launch's paths are texts
        return stat.S_ISREG(mode) and bool(mode & 0o111)
    return False


def inherited_environment(secrets: frozenset[str]) -> dict[str, str]:
    """The environment of this process without ``secrets`` and the variables that are only set for an adapter."""
    own = {*secrets, SERVER_MARKER, PREVIOUS_SAMPLES, DIRECTORY}
    return {name: value for name, value in os.environ.items() if name not in own}


def adapter_environment(
    run: BenchmarkRun,
    command: Command,
    attempt: Attempt,
    inherited: Mapping[str, str],
    previous_samples: str | None = None,
) -> dict[str, str]:
    """Return the adapter's environment.

    In order of precedence, lowest first: the ``inherited`` variables of the server, those of every adapter, those of
    trackers, those of the provider, those of its virtual environment. With a proxy, the server's own hosts are added to
    ``NO_PROXY``. Raises :class:`LaunchError` if the packages of adapters cannot be written, or the directory of
    test data is gone.
    """
    common = {
        JOB_SPEC_PATH: attempt.job_spec,
        "EVALHUB_SAMPLES_PATH": attempt.samples,
        "EVALHUB_ARTIFACTS_PATH": attempt.artifacts,
        "EVALHUB_MODE": "local",
        "EVALHUB_PYTHON": sys.executable,
    }
    if previous_samples is not None:
        common[PREVIOUS_SAMPLES] = previous_samples
    if run.test_data_path:
        if not Path(run.test_data_path).is_dir():
            raise LaunchError(f"The directory test_data_path does not exist any more: {run.test_data_path}.")
        common[DIRECTORY] = run.test_data_path
    elif run.test_data is not None:
        common[DIRECTORY] = attempt.test_data
    available = {**inherited, **common, **run.environment}
    copied = {name: available[source] for name, source in command.env_from.items() if source in available}
    environ = {**available, **copied, **command.env}
    if command.environment is not None:
        try:
            environ = with_packages(command.environment).variables(environ)
        except AdaptersError as error:
            raise LaunchError(str(error)) from None
    return {**environ, **_direct_hosts(environ, run.spec.callback_url)}


def _direct_hosts(environ: Mapping[str, str], callback_url: str) -> dict[str, str]:
    """``NO_PROXY`` in both cases, extended by the callback's host and this computer, if there is a proxy variable.

    Else an SDK adapter sends its reports to the proxy, which cannot reach the server.
    """
    if not any(name.lower() in _PROXIES and value for name, value in environ.items()):
        return {}
    hosts = dict.fromkeys([urlsplit(callback_url).hostname or "localhost", "localhost", "127.0.0.1", "::1"])
    upper, lower = environ.get("NO_PROXY"), environ.get("no_proxy")
    extended: dict[str, str] = {}
    for name, value in (("NO_PROXY", upper or lower), ("no_proxy", lower or upper)):
        present = [host for item in (value or "").split(",") if (host := item.strip())]
        # Clients know "*" only by itself.
        added = [] if present == ["*"] else [host for host in hosts if host not in present]
        extended[name] = ",".join([*present, *added])
    return extended


def _env(provider: str, entries: object) -> tuple[dict[str, str], dict[str, str]]:
    """The literal variables, and those that are copied from another one."""
    if entries is None:
        return {}, {}
    if not isinstance(entries, list):
        raise _invalid(provider, "env", "must be a list of {name, value}")
    env: dict[str, str] = {}
    env_from: dict[str, str] = {}
    for index, entry in enumerate(cast("list[Any]", entries)):
        key = f"env[{index}]"
        if not isinstance(entry, dict):
            raise _invalid(provider, key, "must be {name, value}")
        # The released server also writes and reads Name and Value.
        fields = {str(field).lower(): value for field, value in cast("dict[Any, Any]", entry).items()}
        name = _scalar(provider, f"{key}.name", fields.get("name"))
        value = _scalar(provider, f"{key}.value", fields.get("value"))
        if "=" in name:
            raise _invalid(provider, f"{key}.name", f"must not contain '=', is {name!r}")
        source = _scalar(provider, f"{key}.value_from_env", fields.get("value_from_env"))
        if name and source:
            env_from[name] = source
        elif name:
            env[name] = value
    return env, env_from


def _scalar(provider: str, key: str, value: object) -> str:
    """Format a YAML scalar as the released server does: ``true`` becomes ``1``, ``1.0`` becomes ``1``."""
    match value:
        case None:
            return ""
        case bool():
            return str(int(value))
        case int():
            return str(value)
        case float():
            text = format(Decimal(repr(value)), "f")
            return text.removesuffix(".0")
        case str() if "\0" not in value:
            return value
        case _:
            raise _invalid(provider, key, "must be a text without NUL characters, a number or a boolean")


def _cwd(run: BenchmarkRun, default: str) -> str:
    provider = run.spec.provider_id
    given = (run.config or {}).get("cwd")
    if given is None or given == "":
        return default
    if not isinstance(given, str) or "\0" in given:
        raise _invalid(provider, "cwd", "must be the path of a directory")
    try:
        path = Path(given).expanduser().absolute()
    except RuntimeError as error:
        raise _invalid(provider, "cwd", f"{given!r}: {error}") from None
    if not path.is_dir():
        raise _invalid(provider, "cwd", f"{path} is not a directory")
    return str(path)


def _invalid(provider: str, key: str, problem: str) -> LaunchError:
    return LaunchError(
        f"Provider '{provider}': runtime.local.{key} {problem}. Correct the provider and submit the job again."
    )
