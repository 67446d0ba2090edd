"""The init program as a process, and its files in one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class InitPod:
    """``data`` is the directory of the adapter's test data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "test_data"
        self.secret = folder / "secret"
        for made in (self.data, self.secret):
            made.mkdir()

    def credentials(self, **files: str) -> None:
        for name, text in files.items():
            (self.secret / name).write_text(text, "utf-8")

    def environment(self, **environ: str) -> dict[str, str]:
        """The variables of the program."""
        return {
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "TEST_DATA_DIR": str(self.data),
            "TEST_DATA_SECRET_DIR": str(self.secret),
            "INIT_METADATA_PATH": str(self.folder / "commit"),
            "TERMINATION_MESSAGE_PATH": str(self.folder / "message"),
            **environ,
        }

    def fetch(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the program until it exits."""
        command = [sys.executable, "-m", "evalhub_init"]
        env = self.environment(**environ)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    def fetched(self, **environ: str) -> dict[str, str]:
        """Relative path → content, after a success."""
        done = self.fetch(**environ)
        assert done.returncode == 0, done.stderr
        assert not (self.folder / "message").exists()
        return self.files

    def refused(self, **environ: str) -> str:
        """The termination message of a failure, which leaves no data."""
        done = self.fetch(**environ)
        assert done.returncode == 1, done.stderr
        text = (self.folder / "message").read_text("utf-8")
        assert done.stderr.splitlines()[-1] == f"eval-runtime-init: {text}"
        assert self.files == {}
        return text

    @property
    def files(self) -> dict[str, str]:
        found = (path for path in self.data.rglob("*") if path.is_file())
        return {path.relative_to(self.data).as_posix(): path.read_text("utf-8") for path in found}

    @property
    def commit(self) -> str:
        return (self.folder / "commit").read_text("utf-8").strip()
