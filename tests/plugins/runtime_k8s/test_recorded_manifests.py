"""The objects that the released server created, for the same requests, providers and cluster."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_runtime_k8s.manifest import build
from harness.manifests import OPERATOR, acceptable, facts_of, here, normalised, recorded, run_of

MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:18912"}

CASES = [pytest.param(case, id=case["case"]) for case in recorded()]


@pytest.mark.parametrize("case", CASES)
def test_a_benchmarks_objects_are_those_of_the_released_server(case: dict[str, Any]):
    run = run_of(case["request"], case["benchmark_index"], job_id=case["job_id"])
    where = here(OPERATOR | MLFLOW if case["case"].startswith("mlflow") else OPERATOR)
    assert normalised(build(run, where, facts_of(run))) == acceptable(case["case"], case["objects"])
