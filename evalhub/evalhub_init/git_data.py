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
from evalhub_init.pod_paths import Places, clean_sub_path, timeout_of
from evalhub_init.safe_git_url import Remote, find_remote

# The adapter may run as another user, whom nobody here knows; the volume itself is the pod's alone.
FILE = 0o644
DIRECTORY = 0o755
SUBMODULE = "160000"
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/@+=,#-]*")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,40}")
_LFS = b"version https://git-lfs.github.com/spec/"
ERRORS_SHOWN = 500
"""Characters of git's own words in an error."""


async def fetch_git(environ: Mapping[str, str], places: Places) -> str:
    """Fetch the repository; returns what was done. Raises :class:`InitError`."""
    ref = environ.get("TEST_DATA_GIT_REF", "").strip()
    if ref and (not _REF.fullmatch(ref) or ".." in ref or ref.endswith((".lock", "/", "."))):
        raise InitError(f"The ref {ref!r} of the test data is no name of a branch, a tag or a commit.")
    sub_path = clean_sub_path(environ.get("TEST_DATA_GIT_SUBPATH", ""))
    timeout = timeout_of(environ, "TEST_DATA_GIT_TIMEOUT")
    try:
        async with asyncio.timeout(timeout):
            remote = await find_remote(
                environ["TEST_DATA_GIT_URL"].strip(),
                places.credential("username"),
                places.credential("password"),
                allowed_hosts(environ),
            )
            # Beside the data, so that what is fetched counts as part of them and is moved, not copied.
            with tempfile.TemporaryDirectory(prefix=".git-", dir=places.data) as folder:
                repository = Repository(Path(folder), remote, environ)
                commit = await repository.fetch(ref)
                await repository.check_out(commit, sub_path)
                count = await asyncio.to_thread(repository.move, sub_path, places.data)
    except TimeoutError:
        raise InitError(
            f"The git test data did not arrive within {timeout:g} s (TEST_DATA_GIT_TIMEOUT)."
        ) from None
    except OSError as error:
        raise InitError(f"The git test data cannot be written to {places.data}: {error.strerror}.") from None
    places.write_commit(commit)
    return f"{count} files of commit {commit}"


class Repository:
    """A clone in a directory of its own. git runs without anybody's configuration, hooks, filters or prompts."""

    def __init__(self, folder: Path, remote: Remote, environ: Mapping[str, str]) -> None:
        self.work_tree = folder / "tree"
        self._remote = remote
        self._environ = _environment(folder, remote, environ)

    async def fetch(self, ref: str) -> str:
        """Get what ``ref`` names (a branch, else a tag, else a commit; empty: the default branch); returns the commit."""
        self.work_tree.mkdir()
        await self._git("init", "--quiet")
        name = await self._advertised(ref)
        if name:
            await self._git("fetch", "--quiet", "--depth=1", "--no-tags", self._remote.url, name)
            return (await self._git("rev-parse", "--verify", "FETCH_HEAD^{commit}")).strip()
        if not _COMMIT.fullmatch(ref):
            raise InitError(
                f"The repository of the test data has no branch or tag '{ref}', and it is no commit."
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
        """Write the files of a commit. Raises :class:`InitError` for submodules, whose addresses nobody has looked at."""
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
        """Put the files (of a folder, or the single one) into ``data``; returns how many. Blocks."""
        shutil.rmtree(self.work_tree / ".git")
        top = self.work_tree / sub_path
        if top.is_symlink() or not top.resolve().is_relative_to(self.work_tree.resolve()):
            raise InitError(f"sub_path '{sub_path}' of the test data is a link; name what it points to.")
        count = _make_plain(top)
        for one in sorted(top.iterdir()) if top.is_dir() else [top]:
            target = data / one.name
            if os.path.lexists(target):
                raise InitError(f"'{one.name}' is in the directory for the test data already.")
            one.rename(target)
        return count

    async def _advertised(self, ref: str) -> str:
        """The full name of a branch or a tag; empty if there is neither."""
        if not ref:
            return "HEAD"
        listed = await self._git("ls-remote", self._remote.url, f"refs/heads/{ref}", f"refs/tags/{ref}")
        names = {line.partition("\t")[2] for line in listed.splitlines()}
        return next((name for name in (f"refs/heads/{ref}", f"refs/tags/{ref}") if name in names), "")

    async def _git(self, *words: str) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *words,
                cwd=self.work_tree,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError:
            raise InitError("The program 'git' is not in the image of the init program.") from None
        try:
            output, errors = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            said = self._remote.redacted(errors.decode("utf-8", "replace").strip())[-ERRORS_SHOWN:]
            raise InitError(f"The repository of the test data cannot be fetched: git {words[0]}: {said}")
        return output.decode("utf-8", "surrogateescape")


def _make_plain(top: Path) -> int:
    """Modes, links and what only looks like data. Returns the number of files. Raises :class:`InitError`."""
    if top.is_file():
        top.chmod(FILE)
        return 1
    count = 0
    root = top.resolve()
    for where, folders, files in os.walk(top):
        Path(where).chmod(DIRECTORY)
        for name in (*folders, *files):
            path = Path(where, name)
            if path.is_symlink():
                inside = not path.readlink().is_absolute() and path.resolve().is_relative_to(root)
                if not inside:
                    raise InitError(
                        f"'{path.relative_to(top)}' of the test data is a link that leads out of them."
                    )
            elif stat.S_ISREG(path.stat().st_mode):
                count += 1
                path.chmod(FILE)
                with path.open("rb") as file:
                    if file.read(len(_LFS)) == _LFS:
                        sys.stderr.write(
                            f"'{path.relative_to(top)}' is in Git LFS: only its pointer is here\n"
                        )
    return count


def _environment(folder: Path, remote: Remote, environ: Mapping[str, str]) -> dict[str, str]:
    settings = {
        "core.hooksPath": os.devnull,
        "credential.helper": "",
        "http.curloptResolve": remote.pinned,
        "http.followRedirects": "false",
        "http.lowSpeedLimit": "1",
        "http.lowSpeedTime": "60",
        "protocol.allow": "never",
        f"protocol.{remote.scheme}.allow": "always",
        "submodule.recurse": "false",
        "transfer.bundleURI": "false",
    }
    if remote.authorization:
        # In the environment, where other users of the host do not see it as they see arguments.
        settings["http.extraHeader"] = f"Authorization: {remote.authorization}"
    proxies = {
        name: value
        for name, value in environ.items()
        if name.lower() in ("http_proxy", "https_proxy", "no_proxy")
    }
    return {
        **proxies,
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
