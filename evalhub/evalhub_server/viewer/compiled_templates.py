"""Compiled templates, kept beside the compiled modules of Python: compiling those of one page takes a tenth of a second."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

from jinja2.bccache import Bucket, FileSystemBytecodeCache

from evalhub_server.engine.code_state import code_state


class CompiledTemplates(FileSystemBytecodeCache):
    """Files beside the compiled module ``source``, which a change of a template, of Python or of Jinja replaces.

    Constants in compiled templates are results of our own filters, so a change of one of the files ``code`` replaces them, too.
    Where Python does not keep compiled modules, nothing is written.
    """

    def __init__(self, source: Path, code: Iterable[Path]) -> None:
        super().__init__(str(Path(cache_from_source(str(source))).parent), "%s.template")
        self._state = code_state(code)

    def get_source_checksum(self, source: str) -> str:
        return super().get_source_checksum(source + self._state)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if not sys.dont_write_bytecode:
            with suppress(OSError):  # a folder that is missing or cannot be written
                super().dump_bytecode(bucket)
