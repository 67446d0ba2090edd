"""Adapters of evaluation frameworks, each run by the Python of an environment that has the framework.

``python -m evalhub_adapters.lm_eval_adapter`` runs a benchmark of lm-evaluation-harness. The interpreter finds this package
and :mod:`evalhub_common` on ``PYTHONPATH`` and imports nothing else of EvalHub; :mod:`evalhub_common.adapter` describes how an
adapter is built.

A module is not named like its framework or a module of the standard library, both of which it would shadow. Modules that import
the framework end their docstring with "Imports the framework."; all others are tested without it. The module that is run belongs to
the others: it reads the job, and reports in one sentence if the framework is missing. ``typings`` has the parts of the frameworks
that are used, for the type checker.
"""

__version__ = "1.0"
