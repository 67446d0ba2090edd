"""What the adapters of frameworks share: the version of the framework, and its failures in one sentence."""

from __future__ import annotations

import sys
import time
from abc import abstractmethod
from importlib.metadata import PackageNotFoundError, version

from evalhub_common.adapter.errors import AdapterError, BenchmarkFailed, FrameworkMissing
from evalhub_common.adapter.program import Adapter, Result, Run


class FrameworkAdapter(Adapter):
    """An adapter whose framework is installed in the environment that runs it."""

    framework: str
    """The name of the framework in messages and results."""
    distribution: str
    """The distribution that has the version of the framework."""
    install: str
    """The command that installs the managed environment, or repairs it."""

    def evaluate(self, run: Run) -> Result:
        try:
            framework_version = version(self.distribution)
        except PackageNotFoundError as error:
            raise FrameworkMissing(
                f"{self.framework} is not installed in the environment of {sys.executable}. Install it with: {self.install}"
            ) from error
        started = time.monotonic()
        try:
            result = self.evaluate_with(run, framework_version)
        except AdapterError:
            raise
        except Exception as error:
            failure = self.explain(error, run)
            if failure is None:
                raise
            raise failure from error
        result.additional_info["framework"] = {"name": self.framework, "version": framework_version}
        result.additional_info["evaluation_s"] = round(time.monotonic() - started, 3)
        return result

    @abstractmethod
    def evaluate_with(self, run: Run, framework_version: str) -> Result:
        """Check the job, then import the framework and run the benchmark; raises as :meth:`Adapter.evaluate`."""

    @abstractmethod
    def explain(self, error: Exception, run: Run) -> BenchmarkFailed | None:
        """The failure that an exception of the framework means; None if its cause is unknown."""
