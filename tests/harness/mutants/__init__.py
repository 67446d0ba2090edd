"""Implementations that break one promise of their contract each, and the good ones that they derive from.

``tests/testing/test_mutants.py`` runs the contract suites over them: each must fail, with a message that names the promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

C = TypeVar("C", bound=type)


class Mutant(NamedTuple):
    """``test`` is run first; its failure contains ``message``. ``flags`` are attributes of the test class."""

    implementation: Any
    test: str
    message: str
    flags: dict[str, Any]


class Mutants(dict[str, Mutant]):
    """Mutants by name; registers them as a decorator."""

    def breaks(self, test: str, message: str, **flags: Any) -> Callable[[C], C]:
        """Register a class whose fault ``test`` finds; its failure must contain ``message``."""

        def register(implementation: C) -> C:
            self[implementation.__name__] = Mutant(implementation, f"test_{test}", message, flags)
            return implementation

        return register

    def cases(self, suite: type, good: type | None = None) -> dict[str, type]:
        """Return a test class for each mutant and for the good implementation, if there is one, by name.

        ``suite`` creates its plugin from the attribute ``implementation``.
        """
        found: dict[str, dict[str, Any]] = {f"Good{suite.__name__}": {"implementation": good}} if good else {}
        for name, mutant in self.items():
            found[name] = {"implementation": mutant.implementation, "expected": mutant.test, **mutant.flags}
        module = {"__module__": suite.__module__}
        return {f"Test{name}": type(f"Test{name}", (suite,), body | module) for name, body in found.items()}
