"""What tests of telemetry share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config
from harness.collector import HttpCollector


@pytest.fixture
def collector() -> Iterator[HttpCollector]:
    with HttpCollector() as running:
        yield running


@pytest.fixture
def config_for(tmp_path: Path) -> Callable[..., Config]:
    """Makes a configuration that sends everything to an endpoint, soon."""

    def make(endpoint: str, **otel: Any) -> Config:
        section = {
            "enabled": True,
            "exporter_type": "otlp-http",
            "exporter_endpoint": endpoint,
            "exporter_insecure": True,
            "enable_tracing": True,
            "enable_metrics": True,
            "enable_logs": True,
            "metric_export_interval": "100ms",
            "tracer_batch_interval": "50ms",
            **otel,
        }
        config = Config(tmp_path / "config", otel=section)
        config.scripted("running", "completed")
        return config

    return make
