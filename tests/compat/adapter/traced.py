"""An adapter that does with telemetry what the SDK's do, and nothing else."""

import logging

from evalhub.adapter.telemetry import EvalTracer, configure_telemetry

assert configure_telemetry()
with EvalTracer().evaluation_run():
    logging.getLogger("adapter").warning("an adapter's own record")
