"""Connection to the bucket that ``samples.url`` names: location, endpoint, region and credentials.

Credentials are looked up as AWS's own programs do: the settings, then the environment, a profile of the shared files, and
what the platform provides (web identity, container or instance), which the client library requests.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from evalhub_common.urls import split_http_url
from evalhub_server.errors import SettingsError
from evalhub_server.settings.file_sections import S3Settings, SampleSettings

SCHEME = "s3://"
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Variables that hold credentials."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/=+@,-]*")
_DEFAULT_REGION = "us-east-1"
_INDIRECT = ("role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file")


class S3Connection(Struct, kw_only=True, frozen=True):
    """A bucket, a prefix in it without slashes at its ends, and the options with which the client library opens it."""

    bucket: str
    prefix: str
    endpoint: str
    options: Mapping[str, Any]

    def __repr__(self) -> str:
        """Short, because the options contain secrets."""
        return f"S3Connection({self.url!r})"

    @property
    def url(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, name: str) -> str:
        """The key of an object below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name


def is_s3(url: str) -> bool:
    return url.lower().startswith("s3:")


def location_of(url: str) -> tuple[str, str]:
    """(bucket, prefix) of ``s3://bucket/prefix``. Raises :class:`SettingsError`."""
    bucket, _, prefix = url[len(SCHEME) :].partition("/")
    prefix = prefix.strip("/")
    shown = url.partition("@")[2] or url
    if not url.startswith(SCHEME):
        raise SettingsError(f"samples.url: {shown!r} is not a URL of S3; write s3://bucket/prefix.")
    if not _BUCKET.fullmatch(bucket):
        raise SettingsError(
            f"samples.url: {shown!r} names no bucket; write s3://bucket/prefix, the bucket with 3 to 63 lower-case letters, "
            "digits, '.' or '-'. Credentials and endpoint belong to samples.s3."
        )
    if not _PREFIX.fullmatch(prefix) or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise SettingsError(
            f"samples.url: the prefix {prefix!r} is not usable; write names of letters, digits and -_.=+ between single slashes."
        )
    return bucket, prefix


def sample_errors(samples: SampleSettings) -> list[SettingsError]:
    """What is wrong with the section ``samples``, apart from credentials."""
    errors: list[SettingsError] = []
    s3 = samples.s3
    if is_s3(samples.url):
        try:
            location_of(samples.url)
        except SettingsError as error:
            errors.append(error)
    elif "://" in samples.url.removeprefix("file://"):
        scheme = urlsplit(samples.url).scheme
        errors.append(
            SettingsError(f"samples.url: {scheme}:// is not supported; write a folder or s3://bucket/prefix.")
        )
    if s3.endpoint and ((parts := split_http_url(s3.endpoint)) is None or parts.query or parts.fragment):
        errors.append(
            SettingsError(
                f"samples.s3.endpoint: {s3.endpoint!r} is not an http or https address, such as http://minio.example:9000."
            )
        )
    if bool(s3.access_key_id) != bool(s3.secret_access_key):
        missing = "secret_access_key" if s3.access_key_id else "access_key_id"
        errors.append(SettingsError(f"samples.s3.{missing}: is missing; set both keys, or none of them."))
    if samples.index_cache_bytes < 0:
        errors.append(
            SettingsError(
                f"samples.index_cache_bytes: {samples.index_cache_bytes} is below 0; write a size in bytes."
            )
        )
    return errors


def connection_of(samples: SampleSettings, environ: Mapping[str, str]) -> S3Connection:
    """The connection to the bucket of ``samples.url``. Raises :class:`SettingsError`."""
    bucket, prefix = location_of(samples.url)
    s3 = samples.s3
    profile = _profile(s3, environ)
    region = (
        s3.region
        or environ.get("AWS_REGION", "")
        or environ.get("AWS_DEFAULT_REGION", "")
        or profile.get("region", "")
        or _DEFAULT_REGION
    )
    endpoint = (
        s3.endpoint
        or environ.get("AWS_ENDPOINT_URL_S3", "")
        or environ.get("AWS_ENDPOINT_URL", "")
        or profile.get("endpoint_url", "")
    ).rstrip("/")
    path_style = bool(endpoint) if s3.path_style is None else s3.path_style
    options: dict[str, Any] = {
        "bucket": bucket,
        "region": region,
        "virtual_hosted_style_request": not path_style,
        **_credentials(s3, environ, profile),
    }
    if endpoint:
        # The library expects the bucket in an endpoint of virtual hosts.
        scheme, _, host = endpoint.partition("://")
        options["endpoint"] = endpoint if path_style else f"{scheme}://{bucket}.{host}"
    return S3Connection(bucket=bucket, prefix=prefix, endpoint=endpoint, options=options)


def _credentials(s3: S3Settings, environ: Mapping[str, str], profile: Mapping[str, str]) -> dict[str, str]:
    if s3.access_key_id:
        keys = (s3.access_key_id, s3.secret_access_key, s3.session_token)
    elif not s3.profile and environ.get(SECRETS[0]) and environ.get(SECRETS[1]):
        keys = tuple(environ.get(name, "") for name in SECRETS)
    elif profile.get("aws_access_key_id"):
        keys = (
            profile["aws_access_key_id"],
            profile.get("aws_secret_access_key", ""),
            profile.get("aws_session_token", ""),
        )
    else:
        return {}
    names = ("access_key_id", "secret_access_key", "session_token")
    return {name: key for name, key in zip(names, keys, strict=True) if key}


def _profile(s3: S3Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The settings of the selected profile in the shared files; empty if none is selected and there is no default one.

    Raises:
        SettingsError: the selected profile is missing, or has no keys but a way to get some that is not supported.
    """
    selected = s3.profile or environ.get("AWS_PROFILE", "")
    name = selected or "default"
    home = Path(environ.get("HOME") or "~").expanduser()
    values: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        parser = configparser.RawConfigParser()
        path = Path(environ.get(variable) or home / ".aws" / file).expanduser()
        try:
            parser.read(path, "utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            reason = str(error).partition("\n")[0]
            raise SettingsError(f"samples.s3.profile: {path} cannot be read: {reason}.") from None
        if parser.has_section(section):
            values |= dict(parser.items(section))
    if selected and not values:
        raise SettingsError(
            f"samples.s3.profile: there is no profile {selected!r} in the AWS configuration of this user. Create it, or set "
            "samples.s3.access_key_id and samples.s3.secret_access_key."
        )
    indirect = next((key for key in _INDIRECT if key in values), "")
    if selected and not s3.access_key_id and not values.get("aws_access_key_id") and indirect:
        raise SettingsError(
            f"samples.s3.profile: the profile {selected!r} gets its keys by {indirect}, which is not supported. Export them "
            "(aws configure export-credentials --format env), or let the platform provide them (web identity, container or "
            "instance)."
        )
    return values
