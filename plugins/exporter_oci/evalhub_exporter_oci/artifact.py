"""The OCI artifact of an evaluation card: a manifest (OCI image specification 1.1), a configuration and one layer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from msgspec import Struct

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.artifact.config.v1+json"
CARD_TYPE = "application/vnd.eval-hub.evaluation-card.v1+json"
TITLE = "org.opencontainers.image.title"
JOB_ID = "evaluation_job_id"


class Blob(Struct, frozen=True):
    """Content and its digest."""

    content: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"


class Artifact(Struct, kw_only=True, frozen=True):
    """An artifact; ``blobs`` must be pushed before the ``manifest``."""

    blobs: tuple[Blob, ...]
    manifest: Blob


def card_artifact(job_id: str, card: bytes, tag: str, annotations: Mapping[str, str]) -> Artifact:
    """The artifact of a card. Equal arguments result in equal bytes and digests."""
    layer = Blob(card)
    config = Blob(msgspec.json.encode({JOB_ID: job_id}))
    name = f"evaluation-card-{job_id}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(config, CONFIG_TYPE, f"{name}-config.json"),
        "layers": [_descriptor(layer, CARD_TYPE, f"{name}.json")],
        "annotations": dict(sorted({**annotations, JOB_ID: job_id, TITLE: tag}.items())),
    }
    return Artifact(blobs=(config, layer), manifest=Blob(msgspec.json.encode(manifest)))


def _descriptor(blob: Blob, media_type: str, title: str) -> dict[str, object]:
    return {
        "mediaType": media_type,
        "digest": blob.digest,
        "size": len(blob.content),
        "annotations": {TITLE: title},
    }
