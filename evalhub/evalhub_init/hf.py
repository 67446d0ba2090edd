"""Test data in a dataset repository of Hugging Face, at a commit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote

import msgspec
from aiohttp import ClientResponse, ClientSession
from msgspec import Struct
from yarl import URL

from evalhub_init.download import Unavailable, get, in_parallel, new_session, retrying, save
from evalhub_init.errors import InitError
from evalhub_init.pod_paths import PodPaths, clean_sub_path, inside, timeout_of

ENDPOINT = "https://huggingface.co"
DEFAULT_REVISION = "main"
_REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class File(Struct, kw_only=True, frozen=True):
    """One file of a repository."""

    rfilename: str


class Revision(Struct, kw_only=True, frozen=True):
    """A repository at a commit."""

    sha: str
    siblings: tuple[File, ...] = ()


async def fetch_hf(environ: Mapping[str, str], paths: PodPaths) -> str:
    """Fetch the files of a dataset and return a summary. Raises :class:`InitError`."""
    repository = environ["TEST_DATA_HF_REPO_ID"].strip()
    if not _REPOSITORY.fullmatch(repository) or ".." in repository:
        raise InitError(f"'{repository}' is not a dataset of Hugging Face; write owner/name.")
    revision = environ.get("TEST_DATA_HF_REVISION", "").strip() or DEFAULT_REVISION
    sub_path = clean_sub_path(environ.get("TEST_DATA_HF_SUBPATH", ""))
    timeout = timeout_of(environ, "TEST_DATA_HF_TIMEOUT")
    endpoint = (environ.get("HF_ENDPOINT", "").strip() or ENDPOINT).rstrip("/")
    try:
        async with asyncio.timeout(timeout), new_session() as session:
            needed = (
                "give secret_ref a secret with the key token" if paths.variables is None else "set HF_TOKEN"
            )
            dataset = Dataset(session, endpoint, repository, paths.credential("token"), needed)
            found = await dataset.at(revision)
            files = _below(found, sub_path)
            if not files:
                raise InitError(f"There is nothing at '{sub_path or '/'}' in the dataset '{repository}'.")
            targets = {name: inside(paths.data, relative) for name, relative in files.items()}
            await in_parallel(
                [partial(dataset.get, found.sha, name, paths.data, file) for name, file in targets.items()]
            )
    except TimeoutError:
        text = f"The dataset '{repository}' did not arrive within {timeout:g} s (TEST_DATA_HF_TIMEOUT)."
        raise InitError(text) from None
    paths.write_commit(found.sha)
    return f"{len(files)} files of commit {found.sha}"


def _below(revision: Revision, sub_path: str) -> dict[str, str]:
    """Path relative to ``sub_path`` by file; the name if ``sub_path`` is a file."""
    names = [file.rfilename for file in revision.siblings]
    if not sub_path:
        return {name: name for name in names}
    if sub_path in names:
        return {sub_path: sub_path.rpartition("/")[2]}
    return {name: name.removeprefix(f"{sub_path}/") for name in names if name.startswith(f"{sub_path}/")}


class Dataset:
    """A repository on the hub, public or gated."""

    def __init__(
        self, session: ClientSession, endpoint: str, repository: str, token: str, token_hint: str
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._repository = repository
        self._token_hint = token_hint
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def at(self, revision: str) -> Revision:
        """The commit of a branch, a tag or a commit, and its files."""
        path = f"/api/datasets/{self._repository}/revision/{quote(revision, safe='')}"
        found = await retrying(
            f"Looking up the dataset '{self._repository}'", partial(self._at, path, revision)
        )
        if not _COMMIT.fullmatch(found.sha):
            raise InitError(f"The hub does not return the commit of '{revision}' of '{self._repository}'.")
        return found

    async def get(self, commit: str, name: str, data: Path, file: Path) -> None:
        """Write one file."""
        path = f"/datasets/{self._repository}/resolve/{commit}/{quote(name)}"
        await retrying(f"Fetching the file '{name}'", partial(self._get, path, name, data, file))

    async def _at(self, path: str, revision: str) -> Revision:
        async with get(self._session, self._url(path), self._headers) as answer:
            self._check(answer, f"revision '{revision}'")
            text = await answer.read()
        try:
            return msgspec.json.decode(text, type=Revision)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"the hub's response is invalid: {error}") from None

    async def _get(self, path: str, name: str, data: Path, file: Path) -> None:
        async with get(self._session, self._url(path), self._headers) as answer:
            self._check(answer, f"file '{name}'")
            await save(answer, data, file)

    def _url(self, path: str) -> URL:
        return URL(self._endpoint + path, encoded=True)

    def _check(self, answer: ClientResponse, item: str) -> None:
        if answer.status == 200:
            return
        if answer.status >= 500 or answer.status == 429:
            raise Unavailable(f"{answer.status} {answer.reason}")
        hint = {
            401: f"It may not exist, or needs a token: {self._token_hint}.",
            403: "It is gated, or not for this token.",
            404: "It does not exist, or is private.",
        }.get(answer.status, "")
        message = answer.headers.get("X-Error-Message", "")
        raise InitError(
            f"The hub does not provide {item} of the dataset '{self._repository}': "
            f"{answer.status} {message or answer.reason}. {hint}".rstrip()
        )
