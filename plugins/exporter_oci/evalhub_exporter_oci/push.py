"""Pushing an artifact, as the OCI distribution specification 1.1 describes it."""

from __future__ import annotations

from urllib.parse import quote

import aiohttp
from yarl import URL

from evalhub_exporter_oci.artifact import MANIFEST_TYPE, Artifact, Blob
from evalhub_exporter_oci.location import Location
from evalhub_exporter_oci.session import RegistryError, RegistrySession, refusal

CHUNK_BYTES = 5 * 1024 * 1024
"""A larger blob is uploaded in pieces of this size: many registries and proxies limit the size of a request."""

_BINARY = {"Content-Type": "application/octet-stream"}


async def push(
    session: RegistrySession, place: Location, artifact: Artifact, chunk_bytes: int = CHUNK_BYTES
) -> str:
    """Make ``place`` name the artifact; returns the manifest's digest. What is there already is not sent again.

    Raises :class:`ExportRefused`, and :class:`RegistryError` for what may pass.
    """
    manifest = artifact.manifest
    if await _tagged(session, place) == manifest.digest:
        return manifest.digest
    for blob in artifact.blobs:
        if not await _has(session, place, blob):
            await _upload(session, place, blob, chunk_bytes)
    url = _url(place, f"manifests/{place.tag}")
    headers = {"Content-Type": MANIFEST_TYPE}
    async with session.request("PUT", url, body=manifest.content, headers=headers) as answer:
        if answer.status not in (200, 201):
            raise await refusal(answer, f"take the manifest {place.text}")
        digest = answer.headers.get("Docker-Content-Digest", manifest.digest)
    if digest != manifest.digest:
        raise RegistryError(
            f"{place.text} became {digest} instead of {manifest.digest}; the registry changed it"
        )
    return digest


async def _tagged(session: RegistrySession, place: Location) -> str:
    """The digest of what the tag names, or nothing."""
    url = _url(place, f"manifests/{place.tag}")
    async with session.request("HEAD", url, headers={"Accept": MANIFEST_TYPE}) as answer:
        return answer.headers.get("Docker-Content-Digest", "") if answer.status == 200 else ""


async def _has(session: RegistrySession, place: Location, blob: Blob) -> bool:
    async with session.request("HEAD", _url(place, f"blobs/{blob.digest}")) as answer:
        # A redirect leads to the blob in the registry's own storage.
        return answer.status in (200, 307, 308)


async def _upload(session: RegistrySession, place: Location, blob: Blob, chunk_bytes: int) -> None:
    what = f"take a blob for {place.text}"
    async with session.request("POST", _url(place, "blobs/uploads/"), headers=_BINARY) as answer:
        if answer.status != 202:
            raise await refusal(answer, what)
        target = _next(answer, place)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
    size = max(chunk_bytes, int(least) if least.isdecimal() else 0)
    rest = blob.content
    if len(rest) > size:
        for start in range(0, len(blob.content), size):
            piece = blob.content[start : start + size]
            headers = {**_BINARY, "Content-Range": f"{start}-{start + len(piece) - 1}"}
            async with session.request("PATCH", target, body=piece, headers=headers) as answer:
                if answer.status != 202:
                    raise await refusal(answer, what)
                target = _next(answer, place)
        rest = b""
    # Appended as text: the query may be signed, and must stay as the registry wrote it.
    last = f"{target}{'&' if target.raw_query_string else '?'}digest={quote(blob.digest, safe='')}"
    async with session.request("PUT", URL(last, encoded=True), body=rest, headers=_BINARY) as answer:
        if answer.status != 201:
            raise await refusal(answer, what)


def _next(answer: aiohttp.ClientResponse, place: Location) -> URL:
    """Where an upload goes on."""
    try:
        target = answer.url.join(URL(answer.headers.get("Location", ""), encoded=True))
    except ValueError:
        target = URL()
    if target.scheme != "https" and not place.plain_http:
        raise RegistryError(f"{place.host} sends an upload to {target.scheme or 'nowhere'!r}; expected https")
    return target


def _url(place: Location, path: str) -> URL:
    return URL(f"{place.url}/v2/{place.repository}/{path}")
