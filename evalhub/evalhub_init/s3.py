"""Test data in a bucket of any server that speaks S3."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit
from xml.etree import ElementTree as ET

from aiohttp import ClientResponse, ClientSession
from yarl import URL

from evalhub_init.download import Unavailable, all_of, new_session, repeated, save
from evalhub_init.errors import InitError
from evalhub_init.pod_paths import Places, inside, timeout_of
from evalhub_init.sigv4 import Credentials, encoded, query_of, signed_headers

SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_S3_ENDPOINT")
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105  the name of a file
PAGE = 1000


async def fetch_s3(environ: Mapping[str, str], places: Places) -> str:
    """Fetch every object under the key; returns what was done. Raises :class:`InitError`."""
    bucket = environ.get("TEST_DATA_S3_BUCKET", "").strip()
    key = environ.get("TEST_DATA_S3_KEY", "").strip().lstrip("/")
    if not bucket or not key:
        raise InitError("TEST_DATA_S3_BUCKET and TEST_DATA_S3_KEY have to say where the test data are.")
    secret = {name: places.credential(name) for name in SECRET_KEYS}
    missing = [name for name, value in secret.items() if not value]
    if missing:
        raise InitError(f"The secret of the S3 test data lacks {', '.join(missing)}.")
    timeout = timeout_of(environ, "TEST_DATA_S3_TIMEOUT")
    try:
        async with asyncio.timeout(timeout), new_session() as session:
            bucket_of = Bucket(session, secret, places.credential(SESSION_TOKEN), bucket)
            objects = relative_names(await bucket_of.keys(key), key)
            if not objects:
                raise InitError(f"There is no object '{key}', nor any below it, in the bucket '{bucket}'.")
            files = {name: inside(places.data, relative) for name, relative in objects.items()}
            await all_of([partial(bucket_of.get, name, places.data, file) for name, file in files.items()])
    except TimeoutError:
        raise InitError(
            f"The S3 test data did not arrive within {timeout:g} s (TEST_DATA_S3_TIMEOUT)."
        ) from None
    return f"{len(objects)} objects of the bucket '{bucket}'"


def relative_names(keys: list[str], wanted: str) -> dict[str, str]:
    """Object key → path of its file.

    ``wanted`` is an object, then its last part is the name; or a folder, then names are relative to it; or else the
    beginning of names, then they are relative to the folder of these. Markers of folders are no files.
    """
    keys = [key for key in keys if not key.endswith("/")]
    folder = wanted if wanted.endswith("/") else f"{wanted}/"
    names = {key: key.removeprefix(folder) for key in keys if key.startswith(folder)}
    if wanted in keys:
        names[wanted] = wanted.rpartition("/")[2]
    parent = wanted.rpartition("/")[0]
    return names or {key: key.removeprefix(f"{parent}/") if parent else key for key in keys}


class Bucket:
    """Addressed by path, which every server understands. The secret's values are never in an error's text."""

    def __init__(
        self, session: ClientSession, secret: Mapping[str, str], session_token: str, bucket: str
    ) -> None:
        endpoint = secret["AWS_S3_ENDPOINT"].rstrip("/")
        endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise InitError("AWS_S3_ENDPOINT of the test data's secret is no http or https address.")
        self._session = session
        self._url = f"{endpoint}/{encoded(bucket)}"
        self._bucket = bucket
        self._credentials = Credentials(
            access_key=secret["AWS_ACCESS_KEY_ID"],
            secret_key=secret["AWS_SECRET_ACCESS_KEY"],
            region=secret["AWS_DEFAULT_REGION"],
            session_token=session_token,
        )

    async def keys(self, prefix: str) -> list[str]:
        """All keys that begin with ``prefix``."""
        found: list[str] = []
        more = ""
        while True:
            query = {"list-type": "2", "prefix": prefix, "max-keys": str(PAGE), "encoding-type": "url"}
            query |= {"continuation-token": more} if more else {}
            page = await repeated(
                f"Listing the bucket '{self._bucket}'", partial(self._page, f"{self._url}?{query_of(query)}")
            )
            names = [element.text or "" for element in page.iterfind("Contents/Key")]
            found += map(unquote_plus, names) if page.findtext("EncodingType") == "url" else names
            more = page.findtext("NextContinuationToken") or ""
            if page.findtext("IsTruncated") != "true" or not more:
                return found

    async def get(self, key: str, data: Path, file: Path) -> None:
        """Write one object to its file."""
        await repeated(f"Fetching the object '{key}'", partial(self._get, key, data, file))

    async def _get(self, key: str, data: Path, file: Path) -> None:
        async with self._request(f"{self._url}/{encoded(key, slash=True)}") as answer:
            await self._check(answer)
            await save(answer, data, file)

    async def _page(self, url: str) -> ET.Element:
        async with self._request(url) as answer:
            await self._check(answer)
            return _parsed(await answer.read())

    def _request(self, url: str) -> Any:
        headers = signed_headers(url, self._credentials, datetime.now(UTC))
        return self._session.get(
            URL(url, encoded=True),
            headers={**headers, "Accept-Encoding": "identity"},
            allow_redirects=False,
        )

    async def _check(self, answer: ClientResponse) -> None:
        if answer.status == 200:
            return
        code = ""
        text = await answer.read()
        if text.lstrip().startswith(b"<"):
            error = _parsed(text)
            code = ": ".join(filter(None, (error.findtext("Code"), error.findtext("Message"))))
        problem = f"{answer.status} {code or answer.reason}"
        if answer.status >= 500 or answer.status == 429:
            raise Unavailable(problem)
        raise InitError(
            f"The S3 server does not give the test data of the bucket '{self._bucket}': {problem}."
        )


def _parsed(text: bytes) -> ET.Element:
    try:
        # expat has refused entities that grow without bounds since 2.4.1.
        root = ET.fromstring(text)  # noqa: S314
    except ET.ParseError as error:
        raise Unavailable(f"the S3 server's answer is no XML: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root
