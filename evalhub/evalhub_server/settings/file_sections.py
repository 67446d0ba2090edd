"""Types of the sections about files that jobs leave: ``samples`` and ``retention``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from evalhub_server.domain.retention import RetentionPolicy
from evalhub_server.plugins.sections import Timespan

MIB = 1024 * 1024


class S3Settings(Struct, kw_only=True, frozen=True):
    """Section ``samples.s3``: the connection to a bucket."""

    endpoint: Annotated[
        str,
        Meta(
            description="Address of the S3-compatible store. Default: the variables `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL`, then the profile's `endpoint_url`, else Amazon S3.",
            examples=["https://minio.example.org:9000"],
        ),
    ] = ""
    region: Annotated[
        str,
        Meta(
            description="Region of the bucket. Default: the variables `AWS_REGION` and `AWS_DEFAULT_REGION`, then the profile's, else `us-east-1`.",
            examples=["eu-central-1"],
        ),
    ] = ""
    path_style: Annotated[
        bool | None,
        Meta(
            description="Whether the bucket is the first part of the path of requests, and not of their host name. Default: true with an endpoint, false for Amazon S3.",
            examples=[True],
        ),
    ] = None
    access_key_id: Annotated[
        str,
        Meta(
            description="Id of the access key. Default: the variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, then the profile, then what the platform provides (web identity, container, instance).",
            examples=["AKIAIOSFODNN7EXAMPLE"],
        ),
    ] = ""
    secret_access_key: Annotated[
        str,
        Meta(
            description="Secret of the access key. Set it from a secret file: `secrets.mappings: {s3_secret_key: samples.s3.secret_access_key}`.",
            examples=["secret"],
        ),
    ] = ""
    session_token: Annotated[
        str, Meta(description="Session token of temporary credentials.", examples=["secret"])
    ] = ""
    profile: Annotated[
        str,
        Meta(
            description="Profile in `~/.aws/credentials` and `~/.aws/config` whose keys, region and endpoint are used. It takes precedence over keys in the environment. Default: the variable `AWS_PROFILE`, else `default`.",
            examples=["evalhub"],
        ),
    ] = ""


class SampleSettings(Struct, kw_only=True, frozen=True):
    """Section ``samples``: the samples and artifacts that adapters leave."""

    url: Annotated[
        str,
        Meta(
            description="Where samples and artifacts are stored: a folder, or `s3://bucket/prefix` in an S3-compatible store, which needs the extra `s3`. Default: `samples` in the data directory. Without a data directory they last as long as the jobs in memory; a database of its own needs this setting. Several servers that take turns on one database need a bucket, or a folder that all of them mount.",
            examples=["/var/lib/evalhub/samples"],
        ),
    ] = ""
    s3: S3Settings = S3Settings()
    index_cache_bytes: Annotated[
        int,
        Meta(
            description="Maximum size of the local copies of indexes of samples in a bucket, in `samples-cache` of the data directory. The least recently used ones are removed."
        ),
    ] = 512 * MIB
    max_bytes: Annotated[
        int,
        Meta(description="Maximum size of the samples of one benchmark. Further samples are left out."),
    ] = 1024 * MIB
    max_count: Annotated[
        int, Meta(description="Maximum number of samples of one benchmark. Further samples are left out.")
    ] = 1_000_000
    max_sample_bytes: Annotated[
        int,
        Meta(description="Maximum size of one sample. Larger ones are left out and counted as bad lines."),
    ] = 8 * MIB
    max_artifact_bytes: Annotated[
        int, Meta(description="Maximum total size of the artifacts of one benchmark.")
    ] = 1024 * MIB
    max_artifacts: Annotated[int, Meta(description="Maximum number of artifacts of one benchmark.")] = 100


class RetentionSettings(Struct, kw_only=True, frozen=True):
    """Section ``retention``: limits on what is kept. Without settings, nothing of a finished job is deleted."""

    keep_for: Annotated[
        Timespan,
        Meta(
            description="How long jobs are kept after their end. Older ones are deleted with their files. `0s`: for ever.",
            examples=["8760h"],
        ),
    ] = Timespan(0)
    keep_last_per_model_and_benchmark: Annotated[
        int,
        Meta(
            description="How many of the newest jobs to keep for each model and benchmark. Jobs that none of `keep_for` and this setting keeps are deleted with their files. 0: no limit.",
            examples=[20],
        ),
    ] = 0
    samples_for: Annotated[
        Timespan,
        Meta(
            description="How long samples and artifacts are kept after the end of a job. The job and its metrics stay. `0s`: as long as the job.",
            examples=["720h"],
        ),
    ] = Timespan(0)
    logs_for: Annotated[
        Timespan,
        Meta(
            description="How long logs on this host are kept after the end of a job, with whatever else its adapters left in its job directory. The job and its metrics stay. `0s`: as long as the job.",
            examples=["720h"],
        ),
    ] = Timespan(0)
    max_bytes: Annotated[
        int,
        Meta(
            description="Maximum total size of samples, artifacts and logs. Above it, those of the oldest jobs are deleted; the jobs and their metrics stay. 0: no limit.",
            examples=[107374182400],
        ),
    ] = 0
    log_max_bytes: Annotated[
        int,
        Meta(
            description="Maximum size of one benchmark's log, at least 1 MiB. The beginning and the end of a longer one are kept, and the middle is removed while the adapter writes. For local benchmarks. 0: no limit."
        ),
    ] = 1024 * MIB

    @property
    def policy(self) -> RetentionPolicy:
        return RetentionPolicy(
            keep_for_s=self.keep_for,
            keep_last=self.keep_last_per_model_and_benchmark,
            samples_for_s=self.samples_for,
            logs_for_s=self.logs_for,
            max_bytes=self.max_bytes,
        )
