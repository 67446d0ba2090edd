"""Control groups: where this process has a delegated cgroup (version 2), each attempt runs in a group of its own.

A process cannot leave its group by changing its session, its parent or its environment, and the group survives a restart of
the server. Only a delegated subtree is used (``Delegate=yes`` of systemd), since other subtrees belong to other managers.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PREFIX = "evalhub-"
DELEGATED = ("user.delegate", "trusted.delegate")
"""Extended attributes that systemd sets on a delegated cgroup."""


def delegated_cgroup() -> Path | None:
    """Return the cgroup of this process if it is delegated and processes can be moved in it; None otherwise."""
    own = _own_cgroup()
    if own is None or not any(_attribute(own, name) == b"1" for name in DELEGATED):
        return None
    return own if _accepts_processes(own) else None


def path(parent: Path, marker: str) -> Path:
    """Return the directory of the group of an attempt."""
    return parent / (PREFIX + hashlib.sha256(os.fsencode(marker)).hexdigest()[:32])


def create(parent: Path, marker: str) -> Path:
    """Create the group of an attempt. Idempotent. Raises :class:`OSError`."""
    group = path(parent, marker)
    group.mkdir(exist_ok=True)
    return group


def processes(group: Path) -> list[int]:
    """Return the process ids in a group and in the groups below it; empty for a group that does not exist."""
    found: list[int] = []
    for directory in _tree(group):
        with suppress(OSError):
            found += map(int, (directory / "cgroup.procs").read_text("ascii").split())
    return found


def kill(group: Path) -> bool:
    """Send SIGKILL to every process of a group in one step; False where the kernel cannot (before 5.14)."""
    try:
        (group / "cgroup.kill").write_text("1")
    except OSError:
        return False
    return True


def remove(group: Path) -> None:
    """Remove an empty group with the groups below it. Best effort."""
    for directory in reversed(list(_tree(group))):
        with suppress(OSError):
            directory.rmdir()


def remove_empty(parent: Path) -> None:
    """Remove the groups of earlier servers whose processes have exited."""
    for group in parent.glob(f"{PREFIX}*"):
        if not processes(group):
            remove(group)


def _tree(group: Path) -> Iterator[Path]:
    for directory, _, _ in os.walk(group):
        yield Path(directory)


def _own_cgroup() -> Path | None:
    """Return the directory of this process's cgroup in the unified hierarchy."""
    try:
        membership = Path("/proc/self/cgroup").read_text()
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return None
    own = next((line[3:] for line in membership.splitlines() if line.startswith("0::")), None)
    for line in mounts.splitlines():
        fields, _, kind = line.partition(" - ")
        root, mount_point = fields.split()[3:5]
        if own is not None and kind.startswith("cgroup2 "):
            below = os.path.relpath(own, root)
            return None if below.startswith("..") else Path(mount_point, below)
    return None


def _attribute(directory: Path, name: str) -> bytes:
    try:
        return os.getxattr(directory, name)
    except (AttributeError, OSError):
        return b""


def _accepts_processes(parent: Path) -> bool:
    """Try with a process that enters a new group: mount options and rights are too many to be judged one by one."""
    group = parent / f"{PREFIX}probe-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return False
    try:
        command = ["/bin/sh", "-c", 'echo $$ > "$1"', "sh", str(group / "cgroup.procs")]
        done = subprocess.run(command, check=False, capture_output=True, timeout=10)  # noqa: S603  a fixed command
        return done.returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
    finally:
        remove(group)
