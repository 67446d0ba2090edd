"""The cache of parsed provider and collection files."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from evalhub_server.engine.catalog import Catalog
from evalhub_server.engine.catalog_cache import SETTLED_S, CatalogCache, stamp_of
from evalhub_server.engine.catalog_files import read_folder
from evalhub_server.models.provider import ProviderConfig

TEXT = "id: p\nname: parsed\nunknown: 1\nbenchmarks:\n  - {id: b, name: b, category: x, metrics: [acc]}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A provider file that was written some time ago."""
    path = tmp_path / "providers" / "p.yaml"
    path.parent.mkdir()
    path.write_text(TEXT, "utf-8")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "catalog.json"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as settled at once: no program can set the time of their last change."""
    monkeypatch.setattr("evalhub_server.engine.catalog_cache.SETTLED_S", -1.0)


def fill(cache: Path, file: Path, name: str = "cached") -> None:
    """Cache a configuration that the file does not have, so that tests see from where one was read."""
    (loaded,), findings = read_folder(file.parent, ProviderConfig)
    writer = CatalogCache(cache)
    warnings = tuple((each.line, each.message) for each in findings)
    writer.put(file, stamp_of(file), "p", replace(loaded.config, name=name), warnings)
    writer.save()


def name_in(cache: Path, file: Path) -> str:
    (loaded,), _ = read_folder(file.parent, ProviderConfig, CatalogCache(cache))
    return loaded.config.name


def test_a_file_that_has_not_changed_is_not_parsed_again(cache: Path, file: Path):
    fill(cache, file)
    (loaded,), findings = read_folder(file.parent, ProviderConfig, CatalogCache(cache))
    assert (loaded.id, loaded.config.name, loaded.file) == ("p", "cached", file)
    assert findings == read_folder(file.parent, ProviderConfig)[1]
    assert [(each.severity, each.line) for each in findings] == [("warning", 3)]


def test_a_catalogue_fills_and_reads_its_cache(cache: Path, file: Path):
    def catalogue() -> Catalog:
        return Catalog(lambda: [file.parent], list, cache)

    first = catalogue().read()
    assert cache.stat().st_mode & 0o777 == 0o600
    assert cache.parent.stat().st_mode & 0o777 == 0o700
    written = cache.stat()
    assert catalogue().read() == first
    assert cache.stat() == written
    assert list(cache.parent.iterdir()) == [cache]
    fill(cache, file)
    assert catalogue().read().providers["p"].name == "cached"


def test_a_file_that_has_changed_is_parsed(cache: Path, file: Path):
    fill(cache, file)
    new = file.with_suffix(".new")
    new.write_text(TEXT.replace("parsed", "edited"), "utf-8")
    new.replace(file)
    assert name_in(cache, file) == "edited"
    fill(cache, file)
    file.write_text(TEXT.replace("parsed", "shorter"), "utf-8")
    assert name_in(cache, file) == "shorter"


def test_a_file_that_has_just_changed_is_not_cached(cache: Path, file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evalhub_server.engine.catalog_cache.SETTLED_S", SETTLED_S + 3600)
    fill(cache, file)
    assert not cache.exists()


def test_a_duplicate_id_is_reported_with_its_line(cache: Path, file: Path):
    (file.parent / "second.yaml").write_text("name: other\nid: p\n", "utf-8")
    for _ in range(2):
        reader = CatalogCache(cache)
        _, findings = read_folder(file.parent, ProviderConfig, reader)
        reader.save()
        (error,) = [each for each in findings if each.severity == "error"]
        assert (Path(error.source).name, error.line) == ("second.yaml", 2)


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "another structure"])
def test_a_damaged_cache_is_not_used(cache: Path, file: Path, damage: str):
    fill(cache, file)
    content = cache.read_bytes()
    damaged = {
        "truncated": content[:-10],
        "changed": content.replace(b"cached", b"forged"),
        "empty": b"",
        "another structure": b"[]",
    }
    cache.write_bytes(damaged[damage])
    assert name_in(cache, file) == "parsed"


def test_a_configuration_that_no_longer_has_the_structure_is_parsed(cache: Path, file: Path):
    fill(cache, file)
    reader = CatalogCache(cache)
    assert reader.get(file, ProviderConfig) is not None

    class ProviderConfigOfOtherTypes(ProviderConfig, kw_only=True, frozen=True):
        name: int  # type: ignore[assignment]  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]

    ProviderConfigOfOtherTypes.__name__ = ProviderConfig.__name__
    assert reader.get(file, ProviderConfigOfOtherTypes) is None


def test_a_cache_of_other_code_is_not_used(cache: Path, file: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr("evalhub_server.engine.catalog_cache._code", lambda: "other")
        fill(cache, file)
    assert name_in(cache, file) == "parsed"


def test_a_cache_that_other_users_can_write_to_is_not_used(cache: Path, file: Path):
    fill(cache, file)
    cache.chmod(0o666)
    assert name_in(cache, file) == "parsed"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, file: Path):
    (tmp_path / "file").touch()
    fill(tmp_path / "file" / "catalog.json", file)
    assert name_in(tmp_path / "file" / "catalog.json", file) == "parsed"
    blocked = tmp_path / "blocked" / "catalog.json"
    blocked.mkdir(parents=True)
    fill(blocked, file)
    assert list(blocked.parent.iterdir()) == [blocked]


def test_a_file_that_is_missing_has_no_stamp(cache: Path, tmp_path: Path):
    assert CatalogCache(cache).get(tmp_path / "missing.yaml", ProviderConfig) is None
