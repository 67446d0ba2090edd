"""``python -m evalhub_adapters.inspect_adapter``: runs a benchmark of Inspect in this process.

``names``, ``parameters``, ``problems``, ``results`` and ``samples`` do not import the framework; ``tasks``, ``requirements``,
``previous`` and ``run`` do.
"""
