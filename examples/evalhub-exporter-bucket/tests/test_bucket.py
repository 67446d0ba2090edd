"""The server's contract suite over the exporter, with a bucket of moto's S3 server."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_exporter_bucket import BucketExporter, Settings
from evalhub_server.plugins import Exports, JobRecord, with_changes
from evalhub_server.testing import ExporterContract

moto: Any = pytest.importorskip("moto.server", reason="needs moto: pip install -e '.[dev]'")
boto3: Any = pytest.importorskip("boto3")  # moto brings it
KEYS = {"access_key_id": "a-key-id", "secret_access_key": "a-secret-key", "region": "us-east-1"}


class TestBucket(ExporterContract):
    secrets = (KEYS["secret_access_key"],)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def target(cls) -> Generator[None]:
        cls.server = start_server()
        _, cls.port = cls.server.get_host_and_port()
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
        exports = Exports(others={"bucket": {"folder": "release"}})
        return with_changes(job, request=replace(job.request, exports=exports))

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


def start_server(port: int = 0) -> Any:
    server = moto.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    return server
