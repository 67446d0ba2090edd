"""Paths that other users control are refused."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalhub_common.private_paths import UnsafePath, check_directory, open_private, safe_path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
OTHER = 65534


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


def test_own_links_are_followed_relative_absolute_and_nested(base: Path) -> None:
    (base / "real" / "inner").mkdir(parents=True)
    (base / "absolute").symlink_to(base / "real")
    (base / "relative").symlink_to("absolute/inner/../inner")
    assert safe_path(base / "relative" / "new" / "file") == base / "real" / "inner" / "new" / "file"
    assert safe_path(base / "absolute" / ".." / "real") == base / "real"


def test_a_circle_of_links_is_refused(base: Path) -> None:
    (base / "one").symlink_to("two")
    (base / "two").symlink_to("one")
    with pytest.raises(UnsafePath, match="too many symbolic links"):
        safe_path(base / "one")


@needs_root
def test_another_users_link_on_the_way_is_refused(base: Path) -> None:
    (base / "real").mkdir()
    (base / "link").symlink_to("real")
    os.chown(base / "link", OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(UnsafePath, match="symbolic link of another user"):
        safe_path(base / "link" / "below")


@needs_root
def test_an_own_link_with_a_second_name_is_refused(base: Path) -> None:
    (base / "real").mkdir()
    (base / "link").symlink_to("real")
    os.link(base / "link", base / "planted", follow_symlinks=False)
    with pytest.raises(UnsafePath, match="several names"):
        safe_path(base / "planted")


@needs_root
def test_a_directory_below_another_users_is_refused_unless_that_user_became_root(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "theirs" / "mine").mkdir(parents=True)
    os.chown(base / "theirs", OTHER, OTHER)
    with pytest.raises(UnsafePath, match=f"belongs to another user \\(uid {OTHER}\\), who can replace"):
        safe_path(base / "theirs" / "mine")
    monkeypatch.setenv("SUDO_UID", str(OTHER))
    assert safe_path(base / "theirs" / "mine") == base / "theirs" / "mine"


@pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o775, False), (0o1777, True), (0o755, True)])
def test_a_parent_in_which_others_can_rename_is_refused(base: Path, mode: int, safe: bool) -> None:
    inner = base / "parent" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(mode)
    if safe:
        assert safe_path(inner) == inner
        return
    with pytest.raises(UnsafePath, match="can replace what is in it"):
        safe_path(inner)


@needs_root
def test_the_root_group_is_trusted_on_a_volume_only(base: Path) -> None:
    os.chown(base, OTHER, 0)
    base.chmod(0o775)
    for shared in (False, True):
        if shared:
            check_directory(base, shared=True)
        else:
            with pytest.raises(UnsafePath, match="another user"):
                check_directory(base)
    os.chown(base, OTHER, OTHER)
    with pytest.raises(UnsafePath, match="another user"):
        check_directory(base, shared=True)


def test_nothing_is_truncated_before_the_checks(base: Path) -> None:
    file, link, second = base / "file", base / "link", base / "second"
    file.write_text("keep me")
    link.symlink_to(file)
    second.hardlink_to(file)
    for path in (link, second):
        with pytest.raises(UnsafePath):
            open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert file.read_text() == "keep me"
    second.unlink()
    os.close(open_private(file, os.O_WRONLY | os.O_TRUNC))
    assert file.read_text() == ""


def test_a_device_and_a_directory_are_no_files(base: Path) -> None:
    with pytest.raises(UnsafePath, match="not a regular file"):
        open_private(Path("/dev/null"), os.O_RDWR)
    with pytest.raises(IsADirectoryError):
        open_private(base, os.O_RDONLY)


def test_a_new_file_is_private_and_a_second_exclusive_one_is_refused(base: Path) -> None:
    before = os.umask(0)
    try:
        os.close(open_private(base / "new", os.O_WRONLY | os.O_CREAT))
    finally:
        os.umask(before)
    assert (base / "new").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        open_private(base / "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
