"""Contents of the wheel and the sdist."""

from __future__ import annotations

import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path, PurePosixPath

import pytest

from harness.packaging import PROJECT, Built

PACKAGES = sorted(
    folder
    for parent in (PROJECT / "evalhub", *(PROJECT / "plugins").iterdir())
    for folder in parent.glob("evalhub_*")
    if (folder / "__init__.py").is_file()
)


def files_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files_below(folder: Path, prefix: str) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {f"{prefix}/{file.relative_to(folder).as_posix()}": file.read_bytes() for file in files}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(built: Built) -> dict[str, bytes]:
    return files_of(built.wheel)


@pytest.fixture(scope="module")
def metadata(built: Built) -> PathDistribution:
    """The wheel's metadata, as pip and importlib.metadata read them."""
    name = "-".join(built.wheel.name.split("-")[:2])
    return PathDistribution(zipfile.Path(built.wheel, f"{name}.dist-info/"))  # pyright: ignore[reportArgumentType]


def test_the_wheel_has_no_file_in_the_sdks_package(files: dict[str, bytes]):
    top = {PurePosixPath(name).parts[0] for name in files}
    assert {
        name for name in top if not name.startswith("evalhub_") and not name.endswith(".dist-info")
    } == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda folder: folder.name)
def test_every_file_of_every_package_is_in_the_wheel(files: dict[str, bytes], package: Path):
    expected = files_below(package, package.name)
    assert {name: files.get(name) for name in expected} == expected
    assert f"{package.name}/py.typed" in files


def test_the_bundled_configuration_is_the_one_of_the_checkout(files: dict[str, bytes]):
    prefix = "evalhub_server/config"
    bundled = {name: content for name, content in files.items() if name.startswith(f"{prefix}/")}
    assert bundled == files_below(PROJECT / "config", prefix)
    assert f"{prefix}/config.yaml" in bundled


def test_the_licence_is_in_the_wheel(files: dict[str, bytes]):
    licence = [content for name, content in files.items() if name.endswith(".dist-info/licenses/LICENSE")]
    assert licence == [(PROJECT / "LICENSE").read_bytes()]


def test_scripts_and_plugins_are_declared(metadata: PathDistribution, files: dict[str, bytes]):
    points = metadata.entry_points
    scripts = {point.name for point in points if point.group == "console_scripts"}
    assert {"eval-hub-server", "eval-hub", "eval-runtime-sidecar", "eval-runtime-init"} <= scripts
    assert "evalhub" not in scripts, "this one is the SDK's"
    plugins = {point.name for point in points if point.group == "evalhub.plugins"}
    assert {
        "runtime_k8s",
        "runtime_local",
        "storage_postgres",
        "storage_sqlite",
        "tracking_mlflow",
    } <= plugins
    assert [point.value for point in points if point.group == "pytest11"] == ["evalhub_pytest"]
    modules = [point.module.replace(".", "/") for point in points]
    assert [m for m in modules if not {f"{m}.py", f"{m}/__init__.py"} & files.keys()] == []


def test_the_metadata_declare_the_requirements(metadata: PathDistribution):
    fields = metadata.metadata
    assert fields["Name"] == "eval-hub-server"
    assert fields["Requires-Python"] == ">=3.11"
    assert fields["License-Expression"] == "Apache-2.0"
    assert set(fields.get_all("Provides-Extra") or []) == {
        "k8s",
        "mlflow",
        "otel",
        "parquet",
        "postgres",
        "s3",
        "testing",
        "all",
        "dev",
        "docs",
    }
    assert not [need for need in metadata.requires or [] if "eval-hub-sdk" in need]


def test_the_sdk_accepts_the_version(metadata: PathDistribution):
    # evalhub.cli requires the distribution eval-hub-server, 1.0.1 or later.
    assert tuple(int(part) for part in metadata.version.split(".")[:3]) >= (1, 0, 1)


def test_a_wheel_built_from_the_sdist_equals_the_wheel_of_the_checkout(built: Built, files: dict[str, bytes]):
    assert built.sdist_wheel.name == built.wheel.name
    again = files_of(built.sdist_wheel)
    assert sorted(again) == sorted(files)
    assert [name for name in files if again[name] != files[name]] == []
