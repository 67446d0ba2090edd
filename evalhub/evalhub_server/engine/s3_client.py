"""Client of one bucket in an S3-compatible store: the calls of obstore that samples need, with errors for users."""

from __future__ import annotations

import importlib
import re
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, BinaryIO

from evalhub_server.engine.sample_backend import IngestionStopped, Stop
from evalhub_server.errors import SampleStoreUnavailable, StartupError
from evalhub_server.settings import S3Connection

PART_BYTES = 8 * 1024 * 1024
"""Size of a part of a multipart upload. Smaller objects are uploaded with one request."""
CHUNK_BYTES = 4 * 1024 * 1024
MAX_PARTS = 9000  # S3 allows 10,000
PARALLEL_PARTS = 4
COALESCED_BYTES = 1024 * 1024
"""Ranges that are so near to each other are read with one request."""
DELETED_AT_ONCE = 1000
NOT_INSTALLED = "a store with S3 needs the extra s3: pip install 'eval-hub-server[s3]'"

_XML_ERROR = re.compile(r"<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?")
_CAUSE = re.compile(r'message: "([^"]+)"|error: "([^"]+)"')
_DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")


class S3Client:
    """Reads and writes the objects of a bucket. The methods block.

    They raise :class:`FileNotFoundError` if there is no such object, and
    :class:`~evalhub_server.errors.SampleStoreUnavailable` for everything else that the store or the network refuses, since
    that can be repaired while the server runs. Each call is repeated for a few seconds first.
    """

    def __init__(self, connection: S3Connection, retry_s: float = 10.0) -> None:
        """Raises :class:`StartupError` if the client library is not installed."""
        self._connection = connection
        try:
            self._obstore: Any = importlib.import_module("obstore")
            store: Any = importlib.import_module("obstore.store")
            self._error: Any = importlib.import_module("obstore.exceptions").BaseError
        except ImportError:
            raise StartupError(f"samples.url: {NOT_INSTALLED}") from None
        retry = {"max_retries": 4, "retry_timeout": timedelta(seconds=retry_s)}
        client = {
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=60),
            "allow_http": connection.endpoint.startswith("http://"),
        }
        self._store = store.S3Store(**connection.options, retry_config=retry, client_options=client)

    def check(self) -> None:
        """Write, read, list and delete an object below the prefix."""
        key = self._connection.key(f".evalhub-check-{uuid.uuid4().hex}")
        self.put(key, b"ok")
        try:
            self.get(key)
            next(self.list(key), None)
        finally:
            self.delete([key])

    def put(self, key: str, content: bytes) -> None:
        with self._reported():
            self._obstore.put(self._store, key, content, use_multipart=False)

    def upload(self, key: str, file: BinaryIO, stop: Stop) -> None:
        """Upload a file from its beginning, in parts if it is large. Raises :class:`IngestionStopped`."""
        size = file.seek(0, 2)
        file.seek(0)
        if size <= PART_BYTES:
            self.put(key, file.read())
            return
        chunk_size = max(PART_BYTES, size // MAX_PARTS)

        def parts() -> Iterator[bytes]:
            while chunk := file.read(PART_BYTES):
                if stop():
                    raise IngestionStopped
                yield chunk

        with self._reported():
            self._obstore.put(
                self._store, key, parts(), chunk_size=chunk_size, max_concurrency=PARALLEL_PARTS
            )

    def get(self, key: str) -> bytes:
        with self._reported():
            return bytes(self._obstore.get(self._store, key).bytes())

    def stream(self, key: str) -> tuple[int, Iterator[bytes]]:
        """Size and content of an object, however slowly it is consumed."""
        with self._reported():
            found = self._obstore.head(self._store, key)
        size = found["size"]
        same = {"if_match": found["e_tag"]} if found["e_tag"] else {}

        def chunks() -> Iterator[bytes]:
            # One request for each chunk, because the time limit of a request includes the reading of its response.
            for start in range(0, size, CHUNK_BYTES):
                wanted = {"range": (start, min(start + CHUNK_BYTES, size)), **same}
                with self._reported():
                    chunk = bytes(self._obstore.get(self._store, key, options=wanted).bytes())
                yield chunk

        return size, chunks()

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """The bytes of several (start, end) of an object."""
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        with self._reported():
            found = self._obstore.get_ranges(
                self._store, key, starts=starts, ends=ends, coalesce=COALESCED_BYTES
            )
        return [memoryview(each) for each in found]

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of each object whose key begins with the path of the prefix."""
        with self._reported():
            for page in self._obstore.list(self._store, prefix):
                for each in page:
                    yield each["path"], each["size"]

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that do not exist are no error."""
        left = list(keys)
        while left:
            batch, left = left[:DELETED_AT_ONCE], left[DELETED_AT_ONCE:]
            with self._reported():
                self._obstore.delete(self._store, batch)

    @contextmanager
    def _reported(self) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise FileNotFoundError(2, "No such object", self._connection.url) from None
            raise self._unavailable(str(error)) from None
        except (self._error, OSError, ValueError) as error:
            raise self._unavailable(str(error)) from None

    def _unavailable(self, text: str) -> SampleStoreUnavailable:
        return SampleStoreUnavailable(reason_of(text, self._connection))


def reason_of(text: str, connection: S3Connection) -> str:
    """A sentence about an error of the library, with what to do."""
    url, at = connection.url, connection.endpoint or "Amazon S3"
    code, detail = "", ""
    if found := _XML_ERROR.search(text):
        code, detail = found[1], found[2] or ""
    if code == "NoSuchBucket":
        return f"the bucket of {url} does not exist at {at}; create it, or correct samples.url"
    if code in _DENIED or " 403 " in text or " 401 " in text:
        reported = ": ".join(filter(None, (code, detail))) or "access denied"
        return (
            f"{at} refuses access to {url} ({reported}); check the credentials, which must permit to list the bucket and to get, "
            "put and delete objects"
        )
    if code:
        return f"{at} cannot serve {url} ({code}: {detail}); check samples.s3.region and samples.s3.endpoint"
    causes = [first or second for first, second in _CAUSE.findall(text)]
    return f"{at} cannot be reached for {url} ({causes[-1] if causes else _first_line(text)})"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rpartition(" - ")[2][:200]
