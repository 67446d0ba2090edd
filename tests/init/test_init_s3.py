"""Test data in a bucket of a stand-in for an S3 server."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from evalhub_init.s3 import Credentials, encoded, query_of, relative_names, signed_headers
from harness.answering import AnsweringServer, Reply, Request
from harness.init import InitPod
from harness.proxy import RunningProxy

pytestmark = pytest.mark.slow

PAGE = 2
FROM_BUCKET = {"TEST_DATA_S3_BUCKET": "my-bucket", "TEST_DATA_S3_KEY": "/data/"}


class Bucket:
    """A server that lists two keys per page and verifies each signature."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects
        self.fail_once: list[str] = []
        self.upstream = AnsweringServer(self.answer)

    def answer(self, received: Request) -> Reply:
        parts = urlsplit(f"{self.upstream.url}{received.path}")
        if received.path in self.fail_once:
            self.fail_once.remove(received.path)
            return Reply(503, b"<Error><Code>SlowDown</Code></Error>")
        if not self.signed(received):
            text = b"<Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message></Error>"
            return Reply(403, text, {"Content-Type": "application/xml"})
        if parts.path == "/my-bucket":
            return Reply(
                200, self.listed(parse_qs(parts.query)).encode(), {"Content-Type": "application/xml"}
            )
        content = self.objects.get(unquote(parts.path.removeprefix("/my-bucket/")))
        return (
            Reply(404, b"<Error><Code>NoSuchKey</Code></Error>") if content is None else Reply(200, content)
        )

    def signed(self, received: Request) -> bool:
        (host,), (stamp,) = received.header("Host"), received.header("X-Amz-Date")
        now = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        mine = Credentials(access_key="AKIA", secret_key="s3cret/+", region="eu-west-1")
        expected = signed_headers(f"http://{host}{received.path}", mine, now)
        return received.header("Authorization") == [expected["authorization"]]

    def listed(self, query: dict[str, list[str]]) -> str:
        assert query["list-type"] == ["2"]
        keys = sorted(key for key in self.objects if key.startswith(query["prefix"][0]))
        start = int(query.get("continuation-token", ["0"])[0])
        page = keys[start : start + PAGE]
        more = start + PAGE < len(keys)
        contents = "".join(f"<Contents><Key>{quote(key)}</Key></Contents>" for key in page)
        token = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}"
            "</ListBucketResult>"
        )


def with_credentials(pod: InitPod, bucket: Bucket, **changed: str) -> None:
    files = {
        "AWS_ACCESS_KEY_ID": "AKIA\n",
        "AWS_SECRET_ACCESS_KEY": "s3cret/+\n",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_S3_ENDPOINT": f"{bucket.upstream.url}/",
    }
    pod.credentials(**(files | changed))


def test_a_bucket_is_reached_through_a_proxy(pod: InitPod):
    bucket = Bucket(**{"data/a.txt": b"a"})
    with bucket.upstream, RunningProxy({"s3.test": bucket.upstream.port}) as proxy:
        with_credentials(pod, bucket, AWS_S3_ENDPOINT="http://s3.test")
        assert pod.fetched(**FROM_BUCKET, **proxy.environment()) == {"a.txt": "a"}
    assert {urlsplit(line.split()[1]).netloc for line in proxy.requests} == {"s3.test"}


def test_everything_below_the_key_is_fetched_page_by_page(pod: InitPod):
    bucket = Bucket(
        **{
            "data/a.txt": b"a",
            "data/deep/b c+ä%.txt": b"b",
            "data/empty.txt": b"",
            "data/marker/": b"",
            "data/z.txt": b"z",
            "database.txt": b"no",
        }
    )
    with_credentials(pod, bucket)
    with bucket.upstream:
        files = pod.fetched(**FROM_BUCKET)
    assert files == {"a.txt": "a", "deep/b c+ä%.txt": "b", "empty.txt": "", "z.txt": "z"}
    assert stat.S_IMODE((pod.data / "a.txt").stat().st_mode) == 0o644


def test_a_busy_server_is_retried(pod: InitPod):
    bucket = Bucket(**{"data/a.txt": b"a"})
    bucket.fail_once = ["/my-bucket/data/a.txt"]
    with_credentials(pod, bucket)
    with bucket.upstream:
        assert pod.fetched(**FROM_BUCKET) == {"a.txt": "a"}


@pytest.mark.parametrize(
    ("keys", "wanted", "files"),
    [
        (["d/a", "d/b/c"], "d/", ["a", "b/c"]),
        (["d/a", "d/b/c", "d2/x"], "d", ["a", "b/c"]),
        (["d/a.jsonl"], "d/a.jsonl", ["a.jsonl"]),
        (["a"], "a", ["a"]),
        (["d/part-1", "d/part-2"], "d/part-", ["part-1", "part-2"]),
        (["part-1"], "part-", ["part-1"]),
        (["d/"], "d/", []),
        ([], "d/", []),
    ],
)
def test_names_are_relative_to_the_key(keys: list[str], wanted: str, files: list[str]):
    assert list(relative_names(keys, wanted).values()) == files


@pytest.mark.parametrize("key", ["data/../../etc/x", "data//../x", "data/a\\b"])
def test_no_object_leads_out_of_the_directory(pod: InitPod, key: str):
    bucket = Bucket(**{"data/good.txt": b"good", key: b"bad"})
    with_credentials(pod, bucket)
    with bucket.upstream:
        assert "is not a relative path" in pod.refused(**FROM_BUCKET)


def test_an_empty_result_is_an_error(pod: InitPod):
    bucket = Bucket()
    with_credentials(pod, bucket)
    with bucket.upstream:
        assert (
            pod.refused(**FROM_BUCKET)
            == "There is no object 'data/', nor any below it, in the bucket 'my-bucket'."
        )


def test_a_refusal_is_reported_without_credentials(pod: InitPod):
    bucket = Bucket(**{"data/a.txt": b"a"})
    with_credentials(pod, bucket, AWS_SECRET_ACCESS_KEY="wrong-secret")
    with bucket.upstream:
        text = pod.refused(**FROM_BUCKET)
    assert "'my-bucket': 403 SignatureDoesNotMatch: No." in text
    assert "wrong-secret" not in text


def test_an_unreachable_server_is_named(pod: InitPod):
    bucket = Bucket()
    with_credentials(pod, bucket)
    assert pod.refused(**FROM_BUCKET).startswith("Listing the bucket 'my-bucket' failed 4 times: ")


@pytest.mark.parametrize(
    ("environ", "secret", "complaint"),
    [
        ({"TEST_DATA_S3_BUCKET": ""}, {}, "TEST_DATA_S3_BUCKET and TEST_DATA_S3_KEY must name"),
        ({"TEST_DATA_S3_KEY": "/"}, {}, "TEST_DATA_S3_BUCKET and TEST_DATA_S3_KEY must name"),
        ({}, {"AWS_DEFAULT_REGION": " "}, "The secret of the S3 test data lacks AWS_DEFAULT_REGION."),
        ({}, {"AWS_S3_ENDPOINT": "ftp://x"}, "AWS_S3_ENDPOINT of the test data's secret is not an http"),
        ({"TEST_DATA_S3_TIMEOUT": "soon"}, {}, "TEST_DATA_S3_TIMEOUT: 'soon' is not a duration"),
        ({"TEST_DATA_S3_TIMEOUT": "0"}, {}, "TEST_DATA_S3_TIMEOUT: must be more than 0"),
        ({"TEST_DATA_S3_TIMEOUT": "1ms"}, {}, "did not arrive within 0.001 s"),
    ],
)
def test_invalid_settings_are_named(
    pod: InitPod, environ: dict[str, str], secret: dict[str, str], complaint: str
):
    bucket = Bucket(**{"data/a.txt": b"a"})
    with_credentials(pod, bucket, **secret)
    with bucket.upstream:
        assert complaint in pod.refused(**(FROM_BUCKET | environ))


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ({"lifecycle": ""}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            {"prefix": "J", "max-keys": "2"},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_documentation(query: dict[str, str], signature: str):
    # Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header", its examples.
    example = Credentials(
        access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
    )
    url = f"https://examplebucket.s3.amazonaws.com/?{query_of(query)}"
    headers = signed_headers(url, example, datetime(2013, 5, 24, tzinfo=UTC))
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
    )


def test_a_temporary_credential_brings_its_token():
    temporary = Credentials(access_key="A", secret_key="s", region="r", session_token="t")
    headers = signed_headers("http://h/b", temporary, datetime(2026, 1, 1, tzinfo=UTC))
    assert headers["x-amz-security-token"] == "t"
    assert "x-amz-security-token" in headers["authorization"]
    assert encoded("a/b c~é", slash=True) == "a/b%20c~%C3%A9"
