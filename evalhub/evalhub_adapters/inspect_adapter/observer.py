"""Hooks into Inspect's run: each finished sample is written at once, and counts as progress.

Imports the framework.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from inspect_ai.hooks import Hooks, SampleEnd, TaskStart, hooks
from inspect_ai.log import EvalLog, EvalSample, EvalSpec, resolve_sample_attachments

from evalhub_adapters.inspect_adapter.interruption import Interruption
from evalhub_adapters.inspect_adapter.names import short_name
from evalhub_adapters.inspect_adapter.results import mean_names
from evalhub_adapters.inspect_adapter.samples import sample_line
from evalhub_common.adapter.json_values import JsonObject, as_object
from evalhub_common.adapter.progress import ProgressReporter
from evalhub_common.adapter.sample_file import SampleFile

_LEFT_OUT = {"attachments", "events", "events_data", "store", "timelines"}


class LogReader:
    """Reads samples of tasks into lines of the sample file.

    ``several``: the benchmark has more than one task. ``key`` is left out of errors: some endpoints quote the key that they reject.
    """

    def __init__(self, *, several: bool, key: str | None) -> None:
        self._several = several
        self._key = key

    def lines(self, log: EvalLog) -> Iterator[JsonObject]:
        """The lines of a finished log, in its order."""
        for sample in log.samples or []:
            yield self.line(sample, log.eval)

    def line(self, sample: EvalSample, header: EvalSpec) -> JsonObject:
        """The line of a sample."""
        # Long texts are kept apart from the sample.
        whole = resolve_sample_attachments(sample, "core")
        document: JsonObject = whole.model_dump(mode="json", exclude=_LEFT_OUT, fallback=str)
        task = short_name(header.task) if self._several else None
        line = sample_line(document, mean_names(_scorers(header)), task)
        if self._key and isinstance(line["error"], str):
            line["error"] = line["error"].replace(self._key, "***")
        return line


class Observer(Hooks):
    """Writes samples and reports progress, from :meth:`start` on."""

    reader: LogReader
    file: SampleFile
    progress: ProgressReporter
    interruption: Interruption
    total = 0
    done = 0

    @classmethod
    def start(
        cls,
        reader: LogReader,
        file: SampleFile,
        progress: ProgressReporter,
        interruption: Interruption,
        *,
        total: int,
        reused: int,
    ) -> None:
        """Register with Inspect, which creates the object."""
        cls.reader, cls.file, cls.progress, cls.interruption = reader, file, progress, interruption
        cls.total, cls.done = total, reused
        hooks(name="evalhub", description="samples and progress for EvalHub")(cls)

    def __init__(self) -> None:
        self._headers: dict[str, EvalSpec] = {}
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    async def on_task_start(self, data: TaskStart) -> None:
        self._headers[data.eval_id] = data.spec
        self.progress.update(self.done, self.total)

    async def on_sample_end(self, data: SampleEnd) -> None:
        if self.interruption.stopping:
            return  # the sample is cancelled
        line = self.reader.line(data.sample, self._headers[data.eval_id])
        self.file.write(line)
        type(self).done += 1
        for name, value in (as_object(line.get("metrics")) or {}).items():
            if isinstance(value, float):
                self._sums[name] += value
                self._counts[name] += 1
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self.progress.update(min(self.done, self.total), self.total, means)


def _scorers(header: EvalSpec) -> list[JsonObject]:
    return [scorer.model_dump(mode="json") for scorer in header.scorers or []]
