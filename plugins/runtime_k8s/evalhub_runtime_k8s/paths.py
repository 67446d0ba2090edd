"""Paths inside the containers of a benchmark's pod; adapters and sidecar rely on each of them."""

from __future__ import annotations

JOB_SPEC = "/meta/job.json"
SIDECAR_CONFIG = "/meta/sidecar_config.json"
DATA = "/data"
SHARED = "/shared"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SERVICE_CA = "/etc/pki/ca-trust/source/anchors"
SERVICE_CA_FILE = f"{SERVICE_CA}/service-ca.crt"
MLFLOW_CA = "/etc/evalhub/mlflow-ca"
MLFLOW_CA_FILE = f"{MLFLOW_CA}/ca-bundle.crt"
MLFLOW_TOKEN = "/var/run/secrets/mlflow"  # noqa: S105  a directory
MLFLOW_TOKEN_FILE = f"{MLFLOW_TOKEN}/token"
DOCKER_CONFIG = "/etc/evalhub/.docker/config.json"
MODEL_AUTH = "/var/run/secrets/model"
TEST_DATA = "/test_data"
TEST_DATA_SECRET = "/var/run/secrets/test-data"  # noqa: S105  a directory
INIT_METADATA = "/run/init-metadata"
SIDECAR_TERMINATION_LOG = f"{DATA}/termination-log"
SAMPLES = "/evalhub/samples"
SAMPLES_FILE = f"{SAMPLES}/samples.jsonl"
ARTIFACTS = f"{SAMPLES}/artifacts"
TMP = "/tmp"  # noqa: S108  a volume of the pod's own

SIDECAR_PROGRAM = "/app/eval-runtime-sidecar"
INIT_PROGRAM = "/app/eval-runtime-init"
