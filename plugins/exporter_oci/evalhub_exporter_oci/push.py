"""Push of an artifact after the OCI distribution specification 1.1."""

from __future__ import annotations

from urllib.parse import quote

import aiohttp
from yarl import URL

from evalhub_exporter_oci.artifact import MANIFEST_TYPE, Artifact, Blob
from evalhub_exporter_oci.location import Location
from evalhub_exporter_oci.session import RegistryError, RegistrySession, refusal

CHUNK_BYTES = 5 * 1024 * 1024
"""Larger blobs are uploaded in chunks, because many registries and proxies limit the size of a request."""

_BINARY = {"Content-Type": "application/octet-stream"}


async def push(
    session: RegistrySession, location: Location, artifact: Artifact, chunk_bytes: int = CHUNK_BYTES
) -> str:
    """Push the artifact to ``location`` and return the manifest's digest. Existing blobs are not sent again.

    Raises :class:`ExportRefused`, and :class:`RegistryError` for temporary errors.
    """
    manifest = artifact.manifest
    if await _tagged(session, location) == manifest.digest:
        return manifest.digest
    for blob in artifact.blobs:
        if not await _has(session, location, blob):
            await _upload(session, location, blob, chunk_bytes)
    url = _url(location, f"manifests/{location.tag}")
    headers = {"Content-Type": MANIFEST_TYPE}
    async with session.request("PUT", url, body=manifest.content, headers=headers) as answer:
        if answer.status not in (200, 201):
            raise await refusal(answer, f"take the manifest {location.text}")
        digest = answer.headers.get("Docker-Content-Digest", manifest.digest)
    if digest != manifest.digest:
        raise RegistryError(
            f"{location.text} became {digest} instead of {manifest.digest}; the registry changed it"
        )
    return digest


async def _tagged(session: RegistrySession, location: Location) -> str:
    """The digest of the tag; empty without such a tag."""
    url = _url(location, f"manifests/{location.tag}")
    async with session.request("HEAD", url, headers={"Accept": MANIFEST_TYPE}) as answer:
        return answer.headers.get("Docker-Content-Digest", "") if answer.status == 200 else ""


async def _has(session: RegistrySession, location: Location, blob: Blob) -> bool:
    async with session.request("HEAD", _url(location, f"blobs/{blob.digest}")) as answer:
        # Some registries redirect to their storage backend.
        return answer.status in (200, 307, 308)


async def _upload(session: RegistrySession, location: Location, blob: Blob, chunk_bytes: int) -> None:
    action = f"take a blob for {location.text}"
    async with session.request("POST", _url(location, "blobs/uploads/"), headers=_BINARY) as answer:
        if answer.status != 202:
            raise await refusal(answer, action)
        target = _next(answer, location)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
    size = max(chunk_bytes, int(least) if least.isdecimal() else 0)
    rest = blob.content
    if len(rest) > size:
        for start in range(0, len(blob.content), size):
            chunk = blob.content[start : start + size]
            headers = {**_BINARY, "Content-Range": f"{start}-{start + len(chunk) - 1}"}
            async with session.request("PATCH", target, body=chunk, headers=headers) as answer:
                if answer.status != 202:
                    raise await refusal(answer, action)
                target = _next(answer, location)
        rest = b""
    # Appended as text, because the query may be signed.
    last = f"{target}{'&' if target.raw_query_string else '?'}digest={quote(blob.digest, safe='')}"
    async with session.request("PUT", URL(last, encoded=True), body=rest, headers=_BINARY) as answer:
        if answer.status != 201:
            raise await refusal(answer, action)


def _next(answer: aiohttp.ClientResponse, location: Location) -> URL:
    """The URL of the next request of an upload."""
    try:
        target = answer.url.join(URL(answer.headers.get("Location", ""), encoded=True))
    except ValueError:
        target = URL()
    if target.scheme != "https" and not location.plain_http:
        raise RegistryError(
            f"{location.host} sends an upload to {target.scheme or 'nowhere'!r}; expected https"
        )
    return target


def _url(location: Location, path: str) -> URL:
    return URL(f"{location.url}/v2/{location.repository}/{path}")
