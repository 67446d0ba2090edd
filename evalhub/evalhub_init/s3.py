"""Test data in a bucket of an S3-compatible server, with AWS Signature Version 4.

The signature follows https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree as ET

from aiohttp import ClientResponse, ClientSession
from msgspec import Struct
from yarl import URL

from evalhub_common.proxies import proxy_options
from evalhub_common.urls import split_http_url
from evalhub_init.download import Unavailable, in_parallel, new_session, retrying, save
from evalhub_init.errors import InitError
from evalhub_init.pod_paths import PodPaths, inside, timeout_of

SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_S3_ENDPOINT")
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105  the name of a file
PAGE = 1000
ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


async def fetch_s3(environ: Mapping[str, str], paths: PodPaths) -> str:
    """Fetch all objects below the key and return a summary. Raises :class:`InitError`."""
    bucket = environ.get("TEST_DATA_S3_BUCKET", "").strip()
    key = environ.get("TEST_DATA_S3_KEY", "").strip().lstrip("/")
    if not bucket or not key:
        raise InitError("TEST_DATA_S3_BUCKET and TEST_DATA_S3_KEY must name the test data.")
    secret = {name: paths.credential(name) for name in SECRET_KEYS}
    missing = [name for name, value in secret.items() if not value]
    if missing:
        if paths.variables is not None:
            text = f"The environment of the server or of the provider lacks {', '.join(missing)} for the S3 test data."
            raise InitError(text)
        raise InitError(f"The secret of the S3 test data lacks {', '.join(missing)}.")
    timeout = timeout_of(environ, "TEST_DATA_S3_TIMEOUT")
    try:
        async with asyncio.timeout(timeout), new_session() as session:
            bucket_of = Bucket(session, secret, paths.credential(SESSION_TOKEN), bucket)
            objects = relative_names(await bucket_of.keys(key), key)
            if not objects:
                raise InitError(f"There is no object '{key}', nor any below it, in the bucket '{bucket}'.")
            files = {name: inside(paths.data, relative) for name, relative in objects.items()}
            await in_parallel(
                [partial(bucket_of.get, name, paths.data, file) for name, file in files.items()]
            )
    except TimeoutError:
        raise InitError(
            f"The S3 test data did not arrive within {timeout:g} s (TEST_DATA_S3_TIMEOUT)."
        ) from None
    return f"{len(objects)} objects of the bucket '{bucket}'"


def relative_names(keys: list[str], wanted: str) -> dict[str, str]:
    """Path of the file by object key.

    If ``wanted`` is an object, its last part is the name; if it is a folder, paths are relative to it; otherwise it is a
    prefix, and paths are relative to the folder of the prefix. Folder markers are skipped.
    """
    keys = [key for key in keys if not key.endswith("/")]
    folder = wanted if wanted.endswith("/") else f"{wanted}/"
    names = {key: key.removeprefix(folder) for key in keys if key.startswith(folder)}
    if wanted in keys:
        names[wanted] = wanted.rpartition("/")[2]
    parent = wanted.rpartition("/")[0]
    return names or {key: key.removeprefix(f"{parent}/") if parent else key for key in keys}


class Bucket:
    """A bucket, in path-style URLs, which all servers support. Error messages have no values of the secret."""

    def __init__(
        self, session: ClientSession, secret: Mapping[str, str], session_token: str, bucket: str
    ) -> None:
        endpoint = secret["AWS_S3_ENDPOINT"].rstrip("/")
        endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
        parts = split_http_url(endpoint)
        if parts is None or parts.query:
            raise InitError("AWS_S3_ENDPOINT of the test data's secret is not an http or https address.")
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
        """All keys with the prefix."""
        found: list[str] = []
        more = ""
        while True:
            query = {"list-type": "2", "prefix": prefix, "max-keys": str(PAGE), "encoding-type": "url"}
            query |= {"continuation-token": more} if more else {}
            page = await retrying(
                f"Listing the bucket '{self._bucket}'", partial(self._page, f"{self._url}?{query_of(query)}")
            )
            names = [element.text or "" for element in page.iterfind("Contents/Key")]
            found += map(unquote_plus, names) if page.findtext("EncodingType") == "url" else names
            more = page.findtext("NextContinuationToken") or ""
            if page.findtext("IsTruncated") != "true" or not more:
                return found

    async def get(self, key: str, data: Path, file: Path) -> None:
        """Write an object to a file."""
        await retrying(f"Fetching the object '{key}'", partial(self._get, key, data, file))

    async def _get(self, key: str, data: Path, file: Path) -> None:
        async with self._request(f"{self._url}/{encoded(key, slash=True)}") as answer:
            await self._check(answer)
            await save(answer, data, file)

    async def _page(self, url: str) -> ET.Element:
        async with self._request(url) as answer:
            await self._check(answer)
            return _parsed(await answer.read())

    def _request(self, url: str) -> Any:
        headers = signed_headers(url, self._credentials, datetime.now(UTC)) | {"Accept-Encoding": "identity"}
        return self._session.get(URL(url, encoded=True), allow_redirects=False, **proxy_options(url, headers))

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
            f"The S3 server does not provide the test data of the bucket '{self._bucket}': {problem}."
        )


def _parsed(text: bytes) -> ET.Element:
    try:
        # expat limits entity expansion since 2.4.1.
        root = ET.fromstring(text)  # noqa: S314
    except ET.ParseError as error:
        raise Unavailable(f"the S3 server's response is not XML: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


class Credentials(Struct, kw_only=True, frozen=True):
    """``session_token`` belongs to temporary credentials."""

    access_key: str
    secret_key: str
    region: str
    session_token: str = ""


def encoded(text: str, *, slash: bool = False) -> str:
    """Percent-encoding of the signature: all but unreserved characters, and slashes in paths."""
    return quote(text, safe="/" if slash else "")


def query_of(parameters: Mapping[str, str]) -> str:
    """A query string in the order of the signature."""
    return "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(parameters.items()))


def signed_headers(url: str, credentials: Credentials, now: datetime, service: str = "s3") -> dict[str, str]:
    """The headers of a GET of ``url``, whose path and query are encoded by :func:`encoded`.

    ``now`` is in UTC.
    """
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": parts.netloc, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": stamp}
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        (
            "GET",
            parts.path or "/",
            parts.query,
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            EMPTY_SHA256,
        )
    )
    scope = f"{stamp[:8]}/{credentials.region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers
