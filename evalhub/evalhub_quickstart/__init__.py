"""The bundled quickstart provider: four small benchmarks for any OpenAI-compatible chat endpoint.

``python -m evalhub_quickstart`` is the *adapter*. The server starts it once per benchmark with the
environment variable ``EVALHUB_JOB_SPEC_PATH``; it reads that ``job.json``, asks the model, scores the answers
and posts status events to the job's callback URL. ``python -m evalhub_quickstart.endpoint`` serves a stand-in
model for trying the pipeline.

Only the standard library is used, so the adapter starts in a fraction of a second and runs in any
environment. This module imports nothing for the same reason.
"""

__version__ = "1.0"
