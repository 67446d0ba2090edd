"""The locks of the managed environments: complete on each platform, with hashes, and without addresses."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from evalhub_server.environments.frameworks import FRAMEWORKS, PLATFORMS, PYTHONS, Framework
from evalhub_server.environments.lock_file import Lock, normalized
from evalhub_server.environments.store import AdaptersError

SYSTEMS = {"linux": "Linux", "darwin": "Darwin"}
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)


def requirements(framework: Framework) -> list[Requirement]:
    text = framework.lock.read_text("utf-8")
    lines = re.findall(r"^([a-z0-9].*?)\s*\\$", text, re.MULTILINE)
    return [Requirement(line) for line in lines]


@each_framework
def test_a_lock_has_hashes_and_no_addresses(framework: Framework):
    text = framework.lock.read_text("utf-8")
    for forbidden in ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host"):
        assert forbidden not in text
    lock = Lock(framework.lock)
    assert len(lock) > 70
    assert lock.version_of(framework.distribution)
    assert lock.build_requirements().startswith("setuptools==")
    assert all(lock.version_of(name) == "" for name in framework.excluded)


@each_framework
def test_a_lock_has_each_distribution_once_on_every_platform(framework: Framework):
    found = requirements(framework)
    names = {normalized(each.name) for each in found}
    for system, machine in PLATFORMS:
        for major, minor in PYTHONS:
            environment = {
                "sys_platform": system,
                "platform_system": SYSTEMS[system],
                "platform_machine": machine,
                "python_version": f"{major}.{minor}",
                "python_full_version": f"{major}.{minor}.8",
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
            }
            counts = Counter(
                normalized(each.name)
                for each in found
                if each.marker is None or each.marker.evaluate(environment)
            )
            assert set(counts) == names, environment
            assert set(counts.values()) == {1}, environment


def test_garak_needs_no_torch():
    names = {name for name, _ in Lock(FRAMEWORKS["garak"].lock).pins}
    assert not [name for name in names if name.startswith(("torch", "nvidia-cu", "triton"))]


@pytest.mark.parametrize("line", ["demo==1.0", "demo --hash=sha256:00", "-r other.txt", "--index-url x"])
def test_a_line_without_version_or_hash_is_refused(tmp_path: Path, line: str):
    file = tmp_path / "lock.txt"
    file.write_text(f"# a comment\n{line}\n", "utf-8")
    with pytest.raises(AdaptersError, match="a line without a version or a hash"):
        Lock(file)


def test_a_lock_that_cannot_be_read_is_an_error(tmp_path: Path):
    with pytest.raises(AdaptersError, match="No such file"):
        Lock(tmp_path / "missing.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff")
    with pytest.raises(AdaptersError, match="not UTF-8"):
        Lock(tmp_path / "binary.txt")


def test_versions_that_differ_between_platforms_are_all_pinned(tmp_path: Path):
    file = tmp_path / "lock.txt"
    file.write_text(
        "Demo[extra]==1.0 ; python_version < '3.12' \\\n    --hash=sha256:00  # via x\ndemo==2.0 --hash=sha256:11\n",
        "utf-8",
    )
    lock = Lock(file)
    assert (lock.pins, len(lock)) == ({("demo", "1.0"), ("demo", "2.0")}, 1)
    assert (lock.version_of("DEMO"), lock.version_of("other"), lock.build_requirements()) == ("1.0", "", "")
