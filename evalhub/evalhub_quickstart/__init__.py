"""The bundled quickstart provider: small benchmarks and a load test for any OpenAI-compatible chat endpoint.

``python -m evalhub_quickstart`` is the *adapter*. The server starts it once per benchmark with the
environment variable ``EVALHUB_JOB_SPEC_PATH``; it reads that ``job.json``, sends prompts to the model, scores the
responses and posts status events to the job's callback URL. ``python -m evalhub_quickstart.endpoint`` serves a
stand-in model to try the pipeline.

Only the standard library and :mod:`evalhub_common` are imported, so that the adapter starts in a fraction of a second
and runs in any environment.
"""

__version__ = "1.0"
