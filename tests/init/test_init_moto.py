"""Test data in a bucket of moto, a simulation of AWS, filled by boto3."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness.init import InitPod
from harness.moto import MotoServer, needs_moto

pytestmark = [pytest.mark.slow, needs_moto]

FILL = """
import sys, boto3
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="eu-west-1",
                  aws_access_key_id="test", aws_secret_access_key="test")
s3.create_bucket(Bucket="my-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
for number in range(1100):
    s3.put_object(Bucket="my-bucket", Key=f"many/{number:04d}.txt", Body=str(number).encode())
for key in ("odd/a b+c=d&e.txt", "odd/\u00e4\u20ac.txt", "odd/deep/er/x.bin", "single.jsonl"):
    s3.put_object(Bucket="my-bucket", Key=key, Body=key.encode())
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as moto:
        subprocess.run([sys.executable, "-c", FILL, moto.url], check=True)
        yield moto.url


@pytest.fixture
def filled(pod: InitPod, endpoint: str) -> InitPod:
    pod.credentials(
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION="eu-west-1",
        AWS_S3_ENDPOINT=endpoint,
    )
    return pod


def at(key: str, bucket: str = "my-bucket") -> dict[str, str]:
    return {"TEST_DATA_S3_BUCKET": bucket, "TEST_DATA_S3_KEY": key}


def test_more_than_a_page_of_objects_is_fetched(filled: InitPod):
    assert filled.fetched(**at("many")) == {f"{number:04d}.txt": str(number) for number in range(1100)}


def test_odd_names_come_through(filled: InitPod):
    names = ("a b+c=d&e.txt", "\u00e4\u20ac.txt", "deep/er/x.bin")
    assert filled.fetched(**at("odd/")) == {name: f"odd/{name}" for name in names}


def test_a_single_object_is_fetched(filled: InitPod):
    assert filled.fetched(**at("/single.jsonl")) == {"single.jsonl": "single.jsonl"}


def test_a_bucket_that_is_not_there_is_named(filled: InitPod):
    assert "the bucket 'nope': 404 NoSuchBucket: " in filled.refused(**at("x", "nope"))


def test_an_object_that_is_not_there_is_named(filled: InitPod):
    assert filled.refused(**at("nope")).startswith("There is no object 'nope'")
