"""Adapters of evaluation frameworks, each run by the Python of an environment that has the framework.

``python -m evalhub_adapters.lm_eval_adapter`` runs a benchmark of lm-evaluation-harness. The interpreter finds this package
and :mod:`evalhub_common` on ``PYTHONPATH`` and imports nothing else of EvalHub; :mod:`evalhub_common.adapter` describes how an
adapter is built.

A module is not named like its framework or a module of the standard library, both of which it would shadow. What can be decided
without the framework is in modules that do not import it (``lm_eval_*``), so that it is tested without an installation.
"""

__version__ = "1.0"
