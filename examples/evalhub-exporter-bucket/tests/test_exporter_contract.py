"""The server's contract suites over the exporter, with a directory and with a bucket of moto's S3 server."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from moto.server import ThreadedMotoServer
from msgspec.structs import replace

from evalhub_exporter_bucket import BucketExporter, Settings
from evalhub_server.plugins import Exports, JobRecord, StartupError, with_changes
from evalhub_server.testing import ExporterContract, PluginContract

boto3: Any = import_module("boto3")  # moto brings it; it has no types
KEYS = {"access_key_id": "a-key-id", "secret_access_key": "a-secret-key", "region": "us-east-1"}


def requested(job: JobRecord) -> JobRecord:
    exports = Exports(others={"bucket": {"folder": "release"}})
    return with_changes(job, request=replace(job.request, exports=exports))


class TestDirectory(ExporterContract):
    can_refuse = False

    @pytest.fixture(autouse=True)
    def target(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "target"
        self.directory.mkdir()

    def make_exporter(self, directory: Path) -> BucketExporter:
        return BucketExporter(Settings(url=self.directory.as_uri()))

    def requested(self, job: JobRecord) -> JobRecord:
        return requested(job)

    async def exported(self, job: JobRecord) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.directory.rglob(f"{job.id}*")}

    @contextmanager
    def unavailable(self) -> Generator[None]:
        away = self.directory.rename(self.directory.with_name("away"))
        self.directory.touch()  # nothing can be written below a file
        yield
        self.directory.unlink()
        away.rename(self.directory)


class TestBucket(ExporterContract):
    secrets = (KEYS["secret_access_key"],)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def target(cls) -> Generator[None]:
        cls.port = free_port()
        cls.server = start_server(cls.port)
        cls.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{cls.port}",
            aws_access_key_id=KEYS["access_key_id"],
            aws_secret_access_key=KEYS["secret_access_key"],
            region_name=KEYS["region"],
        )
        cls.client.create_bucket(Bucket="evaluations")
        yield
        cls.client.close()
        cls.server.stop()

    def make_exporter(self, directory: Path) -> BucketExporter:
        options = {"endpoint": f"http://127.0.0.1:{self.port}", **KEYS}
        return BucketExporter(Settings(url="s3://evaluations/cards", options=options))

    def requested(self, job: JobRecord) -> JobRecord:
        return requested(job)

    async def exported(self, job: JobRecord) -> dict[str, bytes]:
        found = self.client.list_objects_v2(Bucket="evaluations", Prefix=f"cards/release/{job.id}")
        keys = [each["Key"] for each in found.get("Contents", [])]
        return {key: self.client.get_object(Bucket="evaluations", Key=key)["Body"].read() for key in keys}

    @contextmanager
    def unavailable(self) -> Generator[None]:
        self.server.stop()
        yield
        type(self).server = start_server(self.port)

    @contextmanager
    def refusing(self) -> Generator[None]:
        for each in self.client.list_objects_v2(Bucket="evaluations").get("Contents", []):
            self.client.delete_object(Bucket="evaluations", Key=each["Key"])
        self.client.delete_bucket(Bucket="evaluations")
        yield
        self.client.create_bucket(Bucket="evaluations")


class TestPlugin(PluginContract):
    entry_point = "evalhub_exporter_bucket"
    sections: ClassVar = {"bucket": {"url": "s3://evaluations", "options": KEYS}}
    secrets = (KEYS["secret_access_key"],)


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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start_server(port: int) -> ThreadedMotoServer:
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    return server
