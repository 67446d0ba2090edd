"""Checks that files and directories which a program trusts can be written only by its own user and root.

A program that reads commands, process ids or records from a directory acts for every user who can write there. The
functions here refuse a path with such writers before anything in it is opened, created or truncated.

A user is trusted who is this process's or root (the owner of ``/``, which in a user namespace has another number).
``shared`` permits the group of a mounted volume, too: for servers that start no programs from what they store. On systems
without user ids nothing is checked.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from contextlib import suppress
from functools import cache
from pathlib import Path

MAX_LINKS = 40
"""The kernel's own limit."""
PRIVATE = 0o700
_CREATE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_OPEN = _CREATE | getattr(os, "O_NONBLOCK", 0)


class UnsafePath(Exception):
    """A path that other users control. The text names the path, the reason and the remedy, in whole sentences."""


def safe_path(path: Path, *, shared: bool = False) -> Path:
    """Return the absolute path with all symbolic links resolved; what does not exist yet is appended unchanged.

    Links of this user and of root are followed, others refused. So is a path below a directory in which other users can
    rename what is not theirs, since they could replace the rest of it. In a directory with the sticky bit they cannot.

    Raises:
        UnsafePath: other users control the path.
        OSError: it cannot be followed.
    """
    if not _has_users():
        return path.absolute()
    current = Path(path.absolute().anchor)
    _check_ancestor(current, current.lstat(), shared=shared)
    rest = deque(path.absolute().parts[1:])
    links = 0
    while rest:
        name = rest.popleft()
        if name == "..":
            current = current.parent
            continue
        following = current / name
        try:
            found = following.lstat()
        except FileNotFoundError:
            return following.joinpath(*rest)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            _check_link(following, found, links, shared=shared)
            target = following.readlink()
            current = Path(target.anchor) if target.is_absolute() else current
            rest.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
            continue
        if rest and stat.S_ISDIR(found.st_mode):
            _check_ancestor(following, found, shared=shared)
        current = following
    return current


def make_private(path: Path) -> None:
    """Create a directory and its missing parents, each with mode 0700. Raises :class:`OSError`."""
    missing: list[Path] = []
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(PRIVATE, exist_ok=True)


def check_directory(path: Path, *, shared: bool = False, sticky: bool = False) -> None:
    """Check one directory that exists, but not its parents; a link is refused.

    ``sticky`` permits other writers in a directory with the sticky bit, in which they cannot replace what is not theirs:
    for directories of which every entry is checked, too.

    Raises:
        UnsafePath: it is no directory, another user's, or other users can write to it.
        OSError: it does not exist or cannot be examined.
    """
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePath(f"{path} is a symbolic link, which is not followed.")
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePath(f"{path} is not a directory.")
    _check_owner(path, found, shared=shared)
    if sticky and found.st_mode & stat.S_ISVTX:
        return
    if shared and os.path.ismount(path):
        return  # volumes are often mounted with mode 0777; the pod that mounts one decides what else can write to it
    _check_writers(path, found, shared=shared)


def check_file(path: Path | str, *, shared: bool = False) -> os.stat_result | None:
    """Check a file without opening it; returns its status, or None if there is none.

    Raises:
        UnsafePath: it is no regular file, another user's, has several names (hard links), or other users can write to it.
        OSError: it cannot be examined.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    _check_file(path, found, shared=shared)
    return found


def open_private(path: Path | str, flags: int, mode: int = 0o600, *, shared: bool = False) -> int:
    """Open a file as :func:`os.open` does, checked as by :func:`check_file`; returns its descriptor.

    No link is followed and no pipe waited for. ``O_TRUNC`` takes effect after the checks. A file that is created here needs
    none.

    Raises:
        UnsafePath: see :func:`check_file`.
        OSError: it cannot be opened.
    """
    if flags & os.O_CREAT:
        with suppress(FileExistsError):
            return os.open(path, (flags & ~os.O_TRUNC) | os.O_EXCL | _CREATE, mode)
    check_file(path, shared=shared)  # first, because opening a device can have an effect
    truncate = flags & os.O_TRUNC
    fd = os.open(path, (flags & ~os.O_TRUNC) | _OPEN, mode)
    try:
        _check_file(path, os.fstat(fd), shared=shared)
        if truncate:
            os.ftruncate(fd, 0)
        if _OPEN:
            os.set_blocking(fd, True)  # programs inherit it with the file
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_trusted_owner(uid: int) -> bool:
    """Whether a file of this user is this process's own or root's."""
    return not _has_users() or uid in (os.geteuid(), 0, _root())


def _check_file(path: Path | str, found: os.stat_result, *, shared: bool) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePath(f"{path} is a symbolic link, which is not followed. Remove it.")
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise UnsafePath(f"{path} is not a regular file. Remove it.")
    if not _has_users():
        return
    if not _is_of_volume(path, found, shared=shared):
        _check_owner(path, found, shared=shared)
    if found.st_nlink > 1:
        raise UnsafePath(
            f"{path} has {found.st_nlink} names (hard links), so it may be another program's file. Replace it by a copy."
        )
    _check_writers(path, found, shared=shared)


def _check_link(path: Path, found: os.stat_result, links: int, *, shared: bool) -> None:
    if links > MAX_LINKS:
        raise UnsafePath(f"{path}: too many symbolic links.")
    if not _is_trusted(found, shared=shared):
        raise UnsafePath(
            f"{path} is a symbolic link of another user (uid {found.st_uid}), which is not followed."
        )
    if found.st_nlink > 1:
        raise UnsafePath(f"{path} is a symbolic link with several names (hard links), which is not followed.")


def _check_ancestor(path: Path, found: os.stat_result, *, shared: bool) -> None:
    if not _is_trusted(found, shared=shared) and found.st_uid != _sudo_user():
        raise UnsafePath(
            f"{path} belongs to another user (uid {found.st_uid}), who can replace what is in it."
        )
    if found.st_mode & stat.S_ISVTX or (shared and os.path.ismount(path)):
        return
    if _others_can_write(found, shared=shared):
        raise UnsafePath(
            f"In {path}, other users can replace what is in it (mode {stat.S_IMODE(found.st_mode):04o}). "
            f"Run: chmod go-w {path}"
        )


def _check_owner(path: Path | str, found: os.stat_result, *, shared: bool) -> None:
    if not _is_trusted(found, shared=shared):
        raise UnsafePath(f"{path} belongs to another user (uid {found.st_uid}).")


def _check_writers(path: Path | str, found: os.stat_result, *, shared: bool) -> None:
    if _others_can_write(found, shared=shared):
        # A sticky directory, such as /tmp, is meant for all users.
        advice = "" if found.st_mode & stat.S_ISVTX else f" Run: chmod go-w {path}"
        raise UnsafePath(
            f"{path} can be written by other users (mode {stat.S_IMODE(found.st_mode):04o}).{advice}"
        )


def _others_can_write(found: os.stat_result, *, shared: bool) -> bool:
    if not _has_users():
        return False
    group = found.st_mode & stat.S_IWGRP and not shared and not _is_private_group(found.st_gid)
    return bool(found.st_mode & stat.S_IWOTH or group)


def _is_trusted(found: os.stat_result, *, shared: bool) -> bool:
    if is_trusted_owner(found.st_uid):
        return True
    # The root group of a container with a random user id, as OpenShift starts them: only root gives files to that group.
    return shared and found.st_gid == 0 and 0 in (os.getegid(), *os.getgroups())


def _is_of_volume(path: Path | str, found: os.stat_result, *, shared: bool) -> bool:
    """Was a file left by another user id of the group whose volume this is? It could replace the file anyway."""
    if not shared or not found.st_mode & stat.S_IWGRP:
        return False
    parent = Path(path).parent.lstat()
    return bool(parent.st_gid == found.st_gid and parent.st_mode & stat.S_IWGRP)


@cache
def _is_private_group(gid: int) -> bool:
    """Is it the group that many systems create for this user alone? Group 0 is not: containers share it."""
    import grp  # not on Windows
    import pwd

    try:
        user = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    return (
        gid != 0
        and user.pw_gid == gid
        and group.gr_name == user.pw_name
        and set(group.gr_mem) <= {user.pw_name}
    )


def _sudo_user() -> int:
    """The user that became root with sudo, who can do anything as root already; -1 if there is none."""
    text = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    return int(text) if text.isdecimal() else -1


@cache
def _root() -> int:
    return os.lstat("/").st_uid


def _has_users() -> bool:
    return hasattr(os, "geteuid")
