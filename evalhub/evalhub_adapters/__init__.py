"""Adapters of evaluation frameworks, each run by the Python of an environment that has the framework.

There is one package for each framework, which is run as a program: ``python -m evalhub_adapters.lm_eval_adapter``,
``evalhub_adapters.inspect_adapter``, ``evalhub_adapters.garak_adapter``. The interpreter finds this package and
:mod:`evalhub_common` on ``PYTHONPATH`` and imports nothing else of EvalHub; :mod:`evalhub_common.adapter` describes how an
adapter is built.

No package is named like its framework or a module of the standard library, both of which it would shadow. Modules that import the
framework end their docstring with "Imports the framework."; all others are tested without it. The module that is run belongs to
the others: it reads the job, and reports in one sentence if the framework is missing. ``typings`` has the parts of the frameworks
that are used, for the type checker.
"""

__version__ = "1.0"
