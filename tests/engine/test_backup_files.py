"""Copies of files in backups: whole, private, and through no link."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from evalhub_server.engine.backup import copy_regular


def test_a_file_is_copied_with_its_size_and_digest(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"line\n" * 1000)
    found = copy_regular(tmp_path / "log", tmp_path / "copy" / "log")
    assert found == (5000, hashlib.sha256(b"line\n" * 1000).hexdigest())
    copy = tmp_path / "copy" / "log"
    assert (copy.read_bytes(), copy.stat().st_mode & 0o077) == (b"line\n" * 1000, 0)


def test_a_missing_file_a_link_a_pipe_and_a_linked_directory_are_not_copied(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "log").write_text("key")
    (tmp_path / "link").symlink_to(secret / "log")
    (tmp_path / "directory").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe")
    for source in ("missing", "link", "pipe", "secret", "directory/log"):
        assert copy_regular(tmp_path / source, tmp_path / "copy" / "log") is None, source
    assert not (tmp_path / "copy").exists()
