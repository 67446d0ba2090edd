"""Locks: requirement files with the version and the hashes of every distribution of an environment."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from evalhub_server.environments.store import AdaptersError

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
BUILD_REQUIREMENT = "setuptools"
"""What builds the distributions that have no wheel. It is in each lock and installed first, so that pip needs no other."""


class Lock:
    """A lock file. Raises :class:`AdaptersError` if it cannot be read or has a requirement without a hash."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # the installers run in another directory
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise AdaptersError(f"The lock {path} cannot be read: {_reason(error)}.") from None
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self._requirements = self._matched(_logical_lines(text))
        self.pins = {(normalized(m["name"]), m["version"]) for _, m in self._requirements}
        """The distributions as (name, version); of one name several, where they differ between platforms."""

    def __len__(self) -> int:
        return len({name for name, _ in self.pins})

    def build_requirements(self) -> str:
        """The part of the lock that is installed first; empty without one."""
        lines = [line for line, match in self._requirements if normalized(match["name"]) == BUILD_REQUIREMENT]
        return "\n".join(lines)

    def version_of(self, distribution: str) -> str:
        """The version of a distribution, of several the first; empty if the lock lacks it."""
        return next((v for name, v in sorted(self.pins) if name == normalized(distribution)), "")

    def _matched(self, lines: list[str]) -> list[tuple[str, re.Match[str]]]:
        found: list[tuple[str, re.Match[str]]] = []
        for line in lines:
            match = _REQUIREMENT.match(line)
            if match is None or "--hash=" not in line:
                raise AdaptersError(
                    f"The lock {self.path} has a line without a version or a hash: '{line[:80]}'; create it with "
                    "'uv pip compile --generate-hashes'."
                )
            found.append((line, match))
        return found


def normalized(name: str) -> str:
    """The name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _logical_lines(text: str) -> list[str]:
    joined = re.sub(r"\\\s*\n\s*", " ", text)
    lines = (line.partition(" #")[0].strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"
