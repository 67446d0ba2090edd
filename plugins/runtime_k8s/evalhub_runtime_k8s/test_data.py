"""Test data of a benchmark: variables of the init container that fetches them, and their mounts."""

from __future__ import annotations

import posixpath

from msgspec import Struct

from evalhub_runtime_k8s import paths, volumes
from evalhub_runtime_k8s.names import is_object_name
from evalhub_runtime_k8s.volumes import Mount
from evalhub_server.plugins import LaunchError, PvcRef, TestDataRef, fetch_variables

SIZE_LIMIT = "5Gi"
NAME = "test-data"


class DataSource(Struct, kw_only=True, frozen=True):
    """``variables``: what the init container fetches; without any there is no init container.

    ``has_revision``: the init container records the fetched revision, and the sidecar reports it.
    """

    mount: Mount
    variables: dict[str, str] = {}
    init_mounts: tuple[Mount, ...] = ()
    has_revision: bool = False


def data_source(ref: TestDataRef | None) -> DataSource | None:
    """Return the source of test data. Raises :class:`LaunchError` for invalid object names and paths."""
    if ref is None:
        return None
    if ref.pvc is not None:
        return _claim(ref.pvc)
    if ref.s3 is not None:
        return _fetched(ref, "test-data-secret", ref.s3.secret_ref, "s3")
    if ref.git is not None:
        return _fetched(ref, "test-data-git-auth", ref.git.secret_ref, "git", has_revision=True)
    if ref.hf is not None:
        return _fetched(ref, "test-data-hf-auth", ref.hf.secret_ref, "hf", has_revision=True)
    return None


def _claim(ref: PvcRef) -> DataSource:
    path = posixpath.normpath(ref.sub_path.strip().lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        raise LaunchError(f"test_data_ref.pvc.sub_path: '{ref.sub_path}' is outside the volume.")
    volume = volumes.claim(NAME, object_name("test_data_ref.pvc.claim_name", ref.claim_name))
    return DataSource(mount=Mount(volume, paths.TEST_DATA, sub_path="" if path == "." else path))


def _fetched(
    ref: TestDataRef, secret_volume: str, secret_ref: str, source: str, *, has_revision: bool = False
) -> DataSource:
    volume = volumes.empty(NAME, SIZE_LIMIT)
    mounts = [Mount(volume, paths.TEST_DATA, read_only=False)]
    if has_revision:
        mounts.append(revision_mount(read_only=False))
    if secret_ref:
        name = object_name(f"test_data_ref.{source}.secret_ref", secret_ref)
        mounts.append(Mount(volumes.secret(secret_volume, name), paths.TEST_DATA_SECRET))
    return DataSource(
        mount=Mount(volume, paths.TEST_DATA),
        variables=fetch_variables(ref),
        init_mounts=tuple(mounts),
        has_revision=has_revision,
    )


def revision_mount(*, read_only: bool) -> Mount:
    """Return the mount in which the init container records the fetched revision."""
    return Mount(volumes.empty("init-metadata"), paths.INIT_METADATA, read_only=read_only)


def object_name(key: str, name: str) -> str:
    """Return ``name`` if it is a valid object name. Raises :class:`LaunchError` otherwise."""
    if not is_object_name(name):
        raise LaunchError(f"{key}: '{name}' is not a valid name of a Kubernetes object.")
    return name
