"""Managed environments in tests: tiny wheels with a lock, installed by the real command."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

import msgspec

from evalhub_common.private_paths import check_directory, make_private
from evalhub_server.environments.store import CURRENT, MANIFEST, Manifest
from harness.program import run_program

MODULES = {"inspect-ai": "inspect_ai", "inspect-evals": "inspect_evals", "openai": "openai"}
"""What the framework 'inspect' imports, by the distribution that has it."""


def wheel(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """Write a wheel of pure Python."""
    distribution = name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in contents.items())
    path = folder / f"{distribution}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name_, text in contents.items():
            archive.writestr(name_, text)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def tiny_lock(folder: Path, version: str = "1.0", modules: Mapping[str, str] | None = None) -> Path:
    """Write a framework 'inspect' of three tiny wheels to ``folder``; returns the lock. ``modules`` replaces their code."""
    codes = dict.fromkeys(MODULES.values(), f"VERSION = {version!r}\n") | dict(modules or {})
    return lock_of(folder, {name: {module: codes[module]} for name, module in MODULES.items()}, version)


def lock_of(folder: Path, distributions: Mapping[str, Mapping[str, str]], version: str = "1.0") -> Path:
    """Write tiny wheels, each with the code of its packages by dotted name, and a lock of them."""
    lines: list[str] = []
    for name, modules in distributions.items():
        files = {f"{module.replace('.', '/')}/__init__.py": code for module, code in modules.items()}
        digest = hashlib.sha256(wheel(folder, name, version, files).read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    lock = folder / f"lock-{version}.txt"
    lock.write_text("".join(lines), "utf-8")
    return lock


def adapters_environment(base: Path, **variables: str) -> dict[str, str]:
    """Variables for the command: installs go below ``base``, without an index and without uv."""
    own = {"EVALHUB_ADAPTERS_DIR": str(base / "adapters"), "HOME": str(base), "PIP_NO_INDEX": "1"}
    return {**os.environ, **own, "PIP_FIND_LINKS": str(base / "wheels"), **variables}


def adapters(base: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``eval-hub-server adapters``."""
    return run_program("adapters", *arguments, env=adapters_environment(base, **variables), timeout_s=300.0)


def _digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def stand_in(adapters_dir: Path, name: str, version: str = "1.0") -> Path:
    """Write an environment whose Python is the one of the tests, without installing anything; returns its path."""
    path = adapters_dir / name / "20260101-stand-in"
    (path / "bin").mkdir(parents=True)
    adapters_dir.chmod(0o700)
    (path / "bin" / "python").symlink_to(sys.executable)
    manifest = Manifest(
        name=name,
        version=version,
        python="3.11.0",
        lock="0",
        installer="pip",
        installed_at="2026-01-01T00:00:00Z",
    )
    (path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    (path.parent / CURRENT).symlink_to(path.name)
    return path


def machine_cache() -> Path:
    """A directory of this machine and user for what takes long to install: later runs, also of other checkouts, find it."""
    path = Path(tempfile.gettempdir()) / f"evalhub-tests-{os.geteuid()}"
    make_private(path)
    check_directory(path)
    return path


def installed_framework(name: str) -> dict[str, str]:
    """Install a real framework by pip, once for each machine and lock; returns the variables with which servers find it.

    The first call downloads some hundred MB and takes minutes.
    """
    cache = machine_cache()
    variables = {
        "EVALHUB_ADAPTERS_DIR": str(
            cache / f"adapters-python{sys.version_info.major}.{sys.version_info.minor}"
        )
    }
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "evalhub_server", "adapters", "install", name, "--installer", "pip"]
        done = subprocess.run(
            command,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return variables
