"""``python -m evalhub_adapters.inspect_adapter``: runs a benchmark of Inspect in this process.

``tasks``, ``previous``, ``observer``, ``query`` and ``run`` import the framework; the other modules do not.
"""
