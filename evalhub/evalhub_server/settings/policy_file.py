"""Policy files of quality gates: YAML with the keys of :class:`GatePolicy`, validated with file and line."""

from __future__ import annotations

from pathlib import Path

from evalhub_server.domain.statistics.policy import GatePolicy, PolicyError, check_policy
from evalhub_server.errors import SettingsError, StartupError
from evalhub_server.plugins.sections import convert_section, section_errors, unknown_keys
from evalhub_server.settings.layers import Finding, key_of
from evalhub_server.settings.yaml_file import parse_yaml


class PolicyFileError(StartupError):
    """A policy file cannot be used. ``findings`` has each fault with its line; the text of the exception has all."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


def load_policy(file: Path) -> GatePolicy:
    """The policy in a file.

    Raises:
        PolicyFileError: the file cannot be read, has an unknown key or a wrong value, or contradicts itself.
    """
    try:
        parsed = parse_yaml(file)
    except SettingsError as error:
        raise PolicyFileError([Finding("error", error.source, error.line, error.message)]) from None
    value: object = parsed.value
    if not isinstance(value, dict) or not value:
        text = "a policy needs keys, such as margin: 0.02"
        raise PolicyFileError([Finding("error", str(file), 0, text)])
    faults = [f"{path}: unknown key{hint}" for path, hint in unknown_keys(value, GatePolicy, "")]
    faults += [error.message for error in section_errors(value, GatePolicy, "")]
    if not faults:
        policy = convert_section(value, GatePolicy, "")
        try:
            check_policy(policy)
        except PolicyError as error:
            faults += error.problems
        else:
            return policy
    raise PolicyFileError(
        [Finding("error", str(file), parsed.line(key_of(fault)), fault) for fault in faults]
    )
