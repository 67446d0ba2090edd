"""What the runtime writes for a sidecar is what the sidecar reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalhub_runtime_k8s.manifest import build
from evalhub_server.plugins.sections import unknown_keys
from evalhub_sidecar.config import SidecarConfig, read_config
from harness.manifests import OPERATOR, facts_of, here, recorded, run_of

CONFIGURED = {
    "base_url": "http://localhost:9000",
    "eval_hub": {"http_timeout": "20s", "token_cache_timeout": "1m", "insecure_skip_verify": True},
    "mlflow": {"http_timeout": "10s", "ca_cert_path": "/ca.pem"},
    "oci": {"ca_cert_path": "/oci.pem", "http_timeout": "40s", "allowed_realms": ["sso.example.com"]},
    "model": {"http_timeout": "2m", "insecure_skip_verify": True, "sa_token_hosts": ["m.example"]},
}

NOT_READ = {"mlflow.workspace"}
"""For inspection only: adapters send the workspace themselves."""


@pytest.mark.parametrize("case", [pytest.param(case, id=case["case"]) for case in recorded()])
def test_the_sidecar_reads_every_key(case: dict[str, Any], tmp_path: Path):
    where = here(OPERATOR | {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}, sidecar=CONFIGURED)
    run = run_of(case["request"], case["benchmark_index"])
    text = build(run, where, facts_of(run)).config_map["data"]["sidecar_config.json"]
    file = tmp_path / "sidecar_config.json"
    file.write_text(text)
    config = read_config(file)
    assert {path for path, _ in unknown_keys(json.loads(text), SidecarConfig, "")} <= NOT_READ
    assert config.base_url == "http://localhost:9000"
    assert config.eval_hub is not None
    assert config.mlflow is not None
    assert config.oci is not None
    assert config.oci.allowed_realms == ("sso.example.com",)
    assert config.model is not None
    timeouts = [part.http_timeout for part in (config.eval_hub, config.mlflow, config.oci, config.model)]
    assert timeouts == pytest.approx([20, 10, 40, 120])
    assert config.model.sa_token_hosts == ("m.example",)
    has_revision = run.test_data is not None and bool(run.test_data.git or run.test_data.hf)
    assert (config.init_container is not None) == has_revision
