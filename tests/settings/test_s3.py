"""The bucket that ``samples.url`` names: location, endpoint, region and credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.errors import SettingsError
from evalhub_server.settings import S3Connection, SampleSettings, connection_of, load_settings
from harness import Config

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "env-id",
    "AWS_SECRET_ACCESS_KEY": "env-secret",
    "AWS_SESSION_TOKEN": "env-token",
}


def connection(
    tmp_path: Path, environ: dict[str, str] | None = None, url: str = "s3://bucket/a/b/", **s3: Any
) -> S3Connection:
    settings = msgspec.convert({"url": url, "s3": s3}, SampleSettings)
    return connection_of(settings, {"HOME": str(tmp_path), **(environ or {})})


def aws_files(tmp_path: Path, *, config: str = "", credentials: str = "") -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(config)
    (tmp_path / ".aws" / "credentials").write_text(credentials)


def test_bucket_and_prefix_make_the_keys(tmp_path: Path):
    found = connection(tmp_path)
    assert (found.url, found.key("x"), repr(found)) == (
        "s3://bucket/a/b",
        "a/b/x",
        "S3Connection('s3://bucket/a/b')",
    )
    assert connection(tmp_path, url="s3://bucket").key("x") == "x"


def test_amazon_has_virtual_hosts_and_an_endpoint_has_paths(tmp_path: Path):
    assert connection(tmp_path).options == {
        "bucket": "bucket",
        "region": "us-east-1",
        "virtual_hosted_style_request": True,
    }
    assert connection(tmp_path, endpoint="http://minio:9000/").options["endpoint"] == "http://minio:9000"
    hosted = connection(tmp_path, endpoint="https://s3.example.org", path_style=False).options
    assert (hosted["endpoint"], hosted["virtual_hosted_style_request"]) == (
        "https://bucket.s3.example.org",
        True,
    )


def test_settings_take_precedence_over_environment_and_profile(tmp_path: Path):
    aws_files(
        tmp_path,
        config="[profile p]\nregion = p-region\nendpoint_url = http://profile:1\n[default]\nregion = d-region\n",
        credentials="[p]\naws_access_key_id = p-id\naws_secret_access_key = p-secret\n[default]\naws_access_key_id = d-id\n"
        "aws_secret_access_key = d-secret\naws_session_token = d-token\n",
    )
    environ = {**ENVIRONMENT, "AWS_REGION": "env-region", "AWS_ENDPOINT_URL": "http://env:1"}

    def keys(found: S3Connection) -> tuple[str, ...]:
        return tuple(
            found.options.get(name, "") for name in ("access_key_id", "secret_access_key", "session_token")
        )

    own = {
        "access_key_id": "own-id",
        "secret_access_key": "own-secret",
        "region": "own-region",
        "profile": "p",
    }
    found = connection(tmp_path, environ, **own)
    assert (keys(found), found.options["region"]) == (("own-id", "own-secret", ""), "own-region")
    found = connection(tmp_path, environ)
    assert keys(found) == ("env-id", "env-secret", "env-token")
    assert (found.options["region"], found.endpoint) == ("env-region", "http://env:1")
    assert keys(connection(tmp_path, environ, profile="p")) == ("p-id", "p-secret", "")
    found = connection(tmp_path, {"AWS_PROFILE": "p"})
    assert keys(found) == ("p-id", "p-secret", "")
    assert (found.options["region"], found.endpoint) == ("p-region", "http://profile:1")
    found = connection(tmp_path)
    assert (keys(found), found.options["region"]) == (("d-id", "d-secret", "d-token"), "d-region")


def test_without_keys_the_platform_provides_them(tmp_path: Path):
    assert "access_key_id" not in connection(tmp_path).options


def test_a_profile_that_cannot_be_used_is_reported(tmp_path: Path):
    with pytest.raises(SettingsError, match="there is no profile 'p' in the AWS configuration"):
        connection(tmp_path, profile="p")
    aws_files(tmp_path, config="[profile p]\ncredential_process = /bin/x\n")
    with pytest.raises(
        SettingsError, match="the profile 'p' gets its keys by credential_process, which is not supported"
    ):
        connection(tmp_path, profile="p")
    (tmp_path / ".aws" / "config").write_text("nonsense")
    with pytest.raises(SettingsError, match=r"samples\.s3\.profile: .*config cannot be read"):
        connection(tmp_path)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"url": "s3:/samples"}, "samples.url: 's3:/samples' is not a URL of S3; write s3://bucket/prefix."),
        ({"url": "S3://samples"}, "samples.url: 'S3://samples' is not a URL of S3"),
        ({"url": "s3://"}, "samples.url: 's3://' names no bucket"),
        ({"url": "s3://id:sesame-secret@bucket/x"}, "samples.url: 'bucket/x' names no bucket"),
        ({"url": "s3://bucket/../x"}, "samples.url: the prefix '../x' is not usable"),
        ({"url": "s3://bucket/a//x"}, "samples.url: the prefix 'a//x' is not usable"),
        ({"url": "s3://bucket/a?b=c"}, "samples.url: the prefix 'a?b=c' is not usable"),
        (
            {"url": "gs://bucket/x"},
            "samples.url: gs:// is not supported; write a folder or s3://bucket/prefix.",
        ),
        (
            {"s3": {"endpoint": "minio:9000"}},
            "samples.s3.endpoint: 'minio:9000' is not an http or https address",
        ),
        ({"s3": {"access_key_id": "x"}}, "samples.s3.secret_access_key: is missing; set both keys"),
        ({"s3": {"secret_access_key": "xyzzy"}}, "samples.s3.access_key_id: is missing; set both keys"),
        ({"index_cache_bytes": -1}, "samples.index_cache_bytes: -1 is below 0"),
    ],
)
def test_a_wrong_setting_is_an_error_with_its_place(tmp_path: Path, samples: dict[str, Any], message: str):
    config = Config(tmp_path / "c", samples=samples)
    with pytest.raises(SettingsError) as caught:
        load_settings(local=True, configdir=config.folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{config.folder}/config.yaml:")
    assert "sesame" not in str(caught.value)


def test_keys_are_secrets_that_adapters_do_not_get(tmp_path: Path):
    config = Config(
        tmp_path / "c",
        samples={"url": "s3://bucket/x", "s3": {"access_key_id": "own-id"}},
        secrets={"dir": str(tmp_path), "mappings": {"s3_key": "samples.s3.secret_access_key"}},
    )
    (tmp_path / "s3_key").write_text("own-secret\n")
    settings = load_settings(
        local=True, configdir=config.folder, environ={**ENVIRONMENT, "COPY": "own-secret"}
    )
    assert settings.samples.s3.secret_access_key == "own-secret"
    assert settings.secrets.values >= {"own-secret", *ENVIRONMENT.values()}
    assert settings.secrets.variables >= {"COPY", *ENVIRONMENT}
    assert "own-secret" not in str(settings.shown())
    assert settings.samples_dir is None
