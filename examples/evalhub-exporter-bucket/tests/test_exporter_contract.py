"""The server's contract suites over the plugin, and over its exporter with a directory."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import pytest
from msgspec.structs import replace

from evalhub_exporter_bucket import BucketExporter, Settings
from evalhub_server.plugins import Exports, JobRecord, StartupError, with_changes
from evalhub_server.testing import ExporterContract, PluginContract


class TestDirectory(ExporterContract):
    can_refuse = False

    @pytest.fixture(autouse=True)
    def target(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "target"
        self.directory.mkdir()

    def make_exporter(self, directory: Path) -> BucketExporter:
        return BucketExporter(Settings(url=self.directory.as_uri()))

    def requested(self, job: JobRecord) -> JobRecord:
        exports = Exports(others={"bucket": {"folder": "release"}})
        return with_changes(job, request=replace(job.request, exports=exports))

    async def exported(self, job: JobRecord) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.directory.rglob(f"{job.id}*")}

    @contextmanager
    def unavailable(self) -> Generator[None]:
        moved: list[Path] = []
        while not self.directory.is_file():
            moved.append(self.directory.rename(self.directory.with_name(f"moved-{len(moved)}")))
            with suppress(FileExistsError):  # an export in progress can create the directory again
                self.directory.touch(exist_ok=False)  # nothing can be written below a file
        yield
        self.directory.unlink()
        for each in moved:
            shutil.copytree(each, self.directory, dirs_exist_ok=True)
            shutil.rmtree(each)


class TestPlugin(PluginContract):
    entry_point = "evalhub_exporter_bucket"
    sections: ClassVar = {
        "bucket": {"url": "s3://evaluations", "options": {"secret_access_key": "a-secret-key"}}
    }
    secrets = ("a-secret-key",)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        (Settings(), "is not set"),
        (Settings(url="file:///no/such/directory"), "Unable to canonicalize"),
        (Settings(url="ftp://example.com"), "Unable to recognise URL"),
        (Settings(url="s3://evaluations", options={"no_such_option": "1"}), "no_such_option"),
    ],
)
@pytest.mark.asyncio
async def test_it_refuses_to_start_with_settings_that_cannot_work(settings: Settings, hint: str):
    with pytest.raises(StartupError, match=rf"bucket\.url.*{hint}"):
        await BucketExporter(settings).check()
