"""An adapter that only sends telemetry, in the way of the SDK's adapters."""

import logging

from evalhub.adapter.telemetry import EvalTracer, configure_telemetry

assert configure_telemetry()
with EvalTracer().evaluation_run():
    logging.getLogger("adapter").warning("an adapter's own record")
