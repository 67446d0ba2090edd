"""The spans and log records of the SDK's adapters join the server's."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import RunningServer
from harness.collector import GrpcCollector, sending_config
from harness.sdk import LOOPBACK_WITHOUT_PROXY, Sdk
from harness.server import API

pytestmark = pytest.mark.slow

ADAPTER = Path(__file__).parent / "adapter" / "traced.py"


def test_an_adapters_telemetry_is_part_of_the_trace_of_its_job(sdk: Sdk, tmp_path: Path):
    with GrpcCollector() as collector:
        config = sending_config(tmp_path, collector.host, exporter_type="otlp-grpc")
        config.provider(f"'{sdk.python}' '{ADAPTER}'")
        with RunningServer(config.folder, env=LOOPBACK_WITHOUT_PROXY) as server:
            server.finished(server.submit())
            post = collector.span(f"POST {API}/jobs")
            benchmark = collector.span("local.run_benchmark")
            adapter = collector.span("evalhub.evaluation.run")
            record = collector.log("an adapter's own record")
    assert post.trace_id == benchmark.trace_id == adapter.trace_id == record.trace_id
    assert (post.span_id, benchmark.span_id) == (
        benchmark.item.parent_span_id.hex(),
        adapter.item.parent_span_id.hex(),
    )
    assert adapter.resource["service.name"] == "evalhub-adapter"
