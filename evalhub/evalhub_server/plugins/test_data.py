"""Variables that select what the init program fetches."""

from __future__ import annotations

from evalhub_server.models.common import TestDataRef


def fetch_variables(ref: TestDataRef) -> dict[str, str]:
    """The variables for test data that must be fetched, without empty ones; none for a volume claim."""
    variables: dict[str, str] = {}
    if ref.s3 is not None:
        variables = {"TEST_DATA_S3_BUCKET": ref.s3.bucket, "TEST_DATA_S3_KEY": ref.s3.key.lstrip("/")}
    elif ref.git is not None:
        variables = {
            "TEST_DATA_GIT_URL": ref.git.url,
            "TEST_DATA_GIT_REF": ref.git.ref,
            "TEST_DATA_GIT_SUBPATH": ref.git.sub_path,
        }
    elif ref.hf is not None:
        variables = {
            "TEST_DATA_HF_REPO_ID": ref.hf.repo_id,
            "TEST_DATA_HF_REVISION": ref.hf.revision,
            "TEST_DATA_HF_SUBPATH": ref.hf.sub_path,
        }
    return {name: value for name, value in variables.items() if value.strip()}
