"""Test data in a git repository, at a branch, a tag or a commit."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from evalhub_init.addresses import allowed_hosts
from evalhub_init.errors import InitError
from evalhub_init.pod_paths import PodPaths, clean_sub_path, timeout_of
from evalhub_init.safe_git_url import Remote, find_remote

# Readable for all: the adapter may run as any user. The volume belongs to the pod.
FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
SUBMODULE = "160000"
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/@+=,#-]*")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,40}")
_LFS = b"version https://git-lfs.github.com/spec/"
MAX_ERROR_CHARACTERS = 500
"""Of git's output in an error message."""


async def fetch_git(environ: Mapping[str, str], paths: PodPaths) -> str:
    """Fetch the repository and return a summary. Raises :class:`InitError`."""
    ref = environ.get("TEST_DATA_GIT_REF", "").strip()
    if ref and (not _REF.fullmatch(ref) or ".." in ref or ref.endswith((".lock", "/", "."))):
        raise InitError(f"The ref {ref!r} of the test data is not the name of a branch, a tag or a commit.")
    sub_path = clean_sub_path(environ.get("TEST_DATA_GIT_SUBPATH", ""))
    timeout = timeout_of(environ, "TEST_DATA_GIT_TIMEOUT")
    try:
        async with asyncio.timeout(timeout):
            remote = await find_remote(
                environ["TEST_DATA_GIT_URL"].strip(),
                paths.credential("username"),
                paths.credential("password"),
                allowed_hosts(environ),
            )
            # Within the data directory: the same volume, so that files can be renamed instead of copied.
            with tempfile.TemporaryDirectory(prefix=".git-", dir=paths.data) as folder:
                repository = Repository(Path(folder), remote, environ)
                commit = await repository.fetch(ref)
                await repository.check_out(commit, sub_path)
                count = await asyncio.to_thread(repository.move, sub_path, paths.data)
    except TimeoutError:
        raise InitError(
            f"The git test data did not arrive within {timeout:g} s (TEST_DATA_GIT_TIMEOUT)."
        ) from None
    except OSError as error:
        raise InitError(f"The git test data cannot be written to {paths.data}: {error.strerror}.") from None
    paths.write_commit(commit)
    return f"{count} files of commit {commit}"


class Repository:
    """A clone in a directory of its own. git runs without other configuration, hooks, filters and prompts."""

    def __init__(self, folder: Path, remote: Remote, environ: Mapping[str, str]) -> None:
        self.work_tree = folder / "tree"
        self._remote = remote
        self._environ = _environment(folder, remote, environ)

    async def fetch(self, ref: str) -> str:
        """Fetch ``ref`` (a branch, else a tag, else a commit; empty: the default branch) and return the commit."""
        self.work_tree.mkdir()
        await self._git("init", "--quiet")
        name = await self._advertised(ref)
        if name:
            await self._git("fetch", "--quiet", "--depth=1", "--no-tags", self._remote.url, name)
            return (await self._git("rev-parse", "--verify", "FETCH_HEAD^{commit}")).strip()
        if not _COMMIT.fullmatch(ref):
            raise InitError(
                f"The repository of the test data has no branch or tag '{ref}', and it is not a commit."
            )
        everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        await self._git("fetch", "--quiet", "--no-tags", self._remote.url, *everything)
        try:
            return (await self._git("rev-parse", "--verify", "--quiet", f"{ref.lower()}^{{commit}}")).strip()
        except InitError:
            raise InitError(
                f"The repository of the test data has no commit '{ref}', or more than one."
            ) from None

    async def check_out(self, commit: str, sub_path: str) -> None:
        """Write the files of a commit. Raises :class:`InitError` for submodules, because their URLs are not checked."""
        listed = await self._git(
            "ls-tree", "-r", "-z", "--full-tree", commit, "--", *([sub_path] if sub_path else [])
        )
        entries = [entry.partition("\t") for entry in listed.split("\0") if entry]
        if not entries:
            raise InitError(f"There is nothing at '{sub_path or '/'}' in the repository of the test data.")
        for about, _, path in entries:
            if about.startswith(SUBMODULE):
                raise InitError(
                    f"'{path}' of the test data is a submodule, which is not fetched; use its repository."
                )
        await self._git("checkout", "--quiet", "--force", "--detach", commit)

    def move(self, sub_path: str, data: Path) -> int:
        """Move the files (of a directory, or a single one) to ``data`` and return their number. Blocks."""
        shutil.rmtree(self.work_tree / ".git")
        top = self.work_tree / sub_path
        if top.is_symlink() or not top.resolve().is_relative_to(self.work_tree.resolve()):
            raise InitError(f"sub_path '{sub_path}' of the test data is a link; name what it points to.")
        count = _normalize(top)
        for entry in sorted(top.iterdir()) if top.is_dir() else [top]:
            target = data / entry.name
            if os.path.lexists(target):
                raise InitError(f"'{entry.name}' exists already in the directory of the test data.")
            entry.rename(target)
        return count

    async def _advertised(self, ref: str) -> str:
        """The full name of a branch or a tag; empty without such a one."""
        if not ref:
            return "HEAD"
        listed = await self._git("ls-remote", self._remote.url, f"refs/heads/{ref}", f"refs/tags/{ref}")
        names = {line.partition("\t")[2] for line in listed.splitlines()}
        return next((name for name in (f"refs/heads/{ref}", f"refs/tags/{ref}") if name in names), "")

    async def _git(self, *arguments: str) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *arguments,
                cwd=self.work_tree,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError:
            raise InitError("The program 'git' is not installed where the test data are fetched.") from None
        try:
            output, errors = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            output = self._remote.redacted(errors.decode("utf-8", "replace").strip())[-MAX_ERROR_CHARACTERS:]
            raise InitError(
                f"The repository of the test data cannot be fetched: git {arguments[0]}: {output}"
            )
        return output.decode("utf-8", "surrogateescape")


def _normalize(top: Path) -> int:
    """Set modes, check links, and warn of Git LFS pointers. Returns the number of files. Raises :class:`InitError`."""
    if top.is_file():
        top.chmod(FILE_MODE)
        return 1
    count = 0
    root = top.resolve()
    for directory, folders, files in os.walk(top):
        Path(directory).chmod(DIRECTORY_MODE)
        for name in (*folders, *files):
            path = Path(directory, name)
            if path.is_symlink():
                inside = not path.readlink().is_absolute() and path.resolve().is_relative_to(root)
                if not inside:
                    raise InitError(
                        f"'{path.relative_to(top)}' of the test data is a link that leads out of them."
                    )
            elif stat.S_ISREG(path.stat().st_mode):
                count += 1
                path.chmod(FILE_MODE)
                with path.open("rb") as file:
                    if file.read(len(_LFS)) == _LFS:
                        sys.stderr.write(
                            f"'{path.relative_to(top)}' is in Git LFS: only its pointer was fetched\n"
                        )
    return count


def _environment(folder: Path, remote: Remote, environ: Mapping[str, str]) -> dict[str, str]:
    settings = {
        "core.hooksPath": os.devnull,
        "credential.helper": "",
        "http.curloptResolve": remote.pinned,
        "http.followRedirects": "false",
        "http.proxy": remote.proxy,
        "http.lowSpeedLimit": "1",
        "http.lowSpeedTime": "60",
        "protocol.allow": "never",
        f"protocol.{remote.scheme}.allow": "always",
        "submodule.recurse": "false",
        "transfer.bundleURI": "false",
    }
    if remote.authorization:
        # In the environment, which other users cannot read, unlike arguments.
        settings["http.extraHeader"] = f"Authorization: {remote.authorization}"
    return {
        "PATH": environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_CONFIG_COUNT": str(len(settings)),
        **{f"GIT_CONFIG_KEY_{number}": key for number, key in enumerate(settings)},
        **{f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(settings.values())},
    }
