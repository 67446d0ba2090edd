"""Files of samples: JSON lines whose members the server's documentation describes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from evalhub_common.adapter.json_values import JsonObject, as_object, dump, finite, parse


class SampleFile:
    """A file of samples that is being written, as a context manager; earlier content is replaced.

    Each line is on disk when :meth:`write` returns, so that a run that is stopped leaves what it has done.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError if the file cannot be created."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")

    def __enter__(self) -> SampleFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, sample: JsonObject) -> None:
        """Append a sample. Members that are None are left out; numbers that are not finite become null.

        Raises:
            OSError: it cannot be written.
        """
        members = {name: finite(value) for name, value in sample.items()}
        self._file.write(dump({name: value for name, value in members.items() if value is not None}) + "\n")
        self._file.flush()


def replace_samples(path: Path, samples: Iterable[JsonObject]) -> int:
    """Replace a file of samples by one with ``samples``, at once; returns their number. Raises as :class:`SampleFile`."""
    new = Path(f"{path}.new")
    count = 0
    with SampleFile(new) as file:
        for sample in samples:
            file.write(sample)
            count += 1
    new.replace(path)
    return count


def read_samples(path: Path | None) -> Iterator[JsonObject]:
    """The objects in a file of samples, in its order; lines that have none are left out. None without a path.

    Raises:
        OSError: the file cannot be read.
    """
    if path is None:
        return
    with path.open("rb") as file:
        for line in file:
            try:
                sample = as_object(parse(line))
            except ValueError:
                continue
            if sample is not None:
                yield sample
