"""``python -m evalhub_adapters.garak_adapter``: runs probes of garak in this process.

``selection``, ``parameters``, ``report`` and ``answers`` do not import the framework; ``endpoint`` and ``run`` do.
"""
