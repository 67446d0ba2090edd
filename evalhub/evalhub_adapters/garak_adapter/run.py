"""One scan by garak: selects probes, sends their prompts, and collects metrics and samples from garak's report.

Imports the framework.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from multiprocessing.pool import ThreadPool
from pathlib import Path

from garak import _config, _plugins, _selection, command
from garak._spec import parse_spec_file
from garak.detectors.base import Detector
from garak.evaluators import ThresholdEvaluator
from garak.harnesses import base as harnesses
from garak.probes.base import Probe

from evalhub_adapters import __version__
from evalhub_adapters.garak_adapter.answers import Answers
from evalhub_adapters.garak_adapter.endpoint import Endpoint
from evalhub_adapters.garak_adapter.parameters import Parameters
from evalhub_adapters.garak_adapter.report import Report
from evalhub_adapters.garak_adapter.selection import Selection, load_problem
from evalhub_adapters.preparation import test_data_directory
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import FrameworkMissing, NoResult
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.program import Result, Run
from evalhub_common.adapter.progress import ProgressReporter
from evalhub_common.adapter.sample_file import SampleFile, read_samples, replace_samples

PREFIX = "garak"
LOCK = "evalhub.lock"
DESCRIBE = "_emit_plugin_cache_entry"
"""The function that describes plugins in the report, and fails for the model, which is none of garak's."""


class Scan:
    """The scan of one benchmark."""

    def __init__(self, run: Run, model: Model, parameters: Parameters, selection: Selection) -> None:
        self._run = run
        self._model = model
        self._parameters = parameters
        self._selection = selection
        self._skipped: dict[str, str] = {}
        self._primary: dict[str, str] = {}

    def result(self) -> Result:
        """Run the probes.

        Raises:
            BenchmarkFailed: there is no result.
        """
        folder = self._run.artifacts or self._run.results
        folder.mkdir(parents=True, exist_ok=True)
        self._configure(folder)
        if test_data_directory(self._run.environ):
            from evalhub_adapters.data_folders import distinguish_folders  # loads a large package

            distinguish_folders()
        _load_plugin_cache()
        probes = list(self._probes())
        if not probes:
            name, reason = next(iter(self._skipped.items()))
            raise FrameworkMissing(f"benchmark {self._selection.benchmark} cannot run: {name} {reason}")
        total = sum(len(getattr(probe, "prompts", ())) for probe, _ in probes) * self._parameters.generations
        self._run.events.running("running_evaluation", total=total)
        answers = self._scan(folder, probes, total)
        self._run.events.running("post_processing")
        return self._result(folder, answers)

    def _configure(self, folder: Path) -> None:
        """Set garak's configuration, which is a module. Settings of the user are not read."""
        parameters = self._parameters
        _config.load_base_config()
        _config.transient.starttime = datetime.now()  # noqa: DTZ005  garak subtracts such ones
        _config.transient.starttime_iso = _config.transient.starttime.isoformat()
        _config.system.lite = False
        _config.system.parallel_attempts = parameters.concurrency
        _config.run.generations = parameters.generations
        _config.run.eval_threshold = parameters.eval_threshold
        _config.run.seed = parameters.seed
        if parameters.prompts is not None:
            _config.run.soft_probe_prompt_cap = parameters.prompts
        _config.plugins.target_type = "evalhub"
        _config.plugins.target_name = self._model.name
        _config.plugins.extended_detectors = parameters.extended_detectors
        _config.reporting.report_dir = str(folder)
        _config.reporting.report_prefix = PREFIX
        random.seed(parameters.seed)
        # Garak starts processes, which stay behind when this one is stopped. The work is waiting for the endpoint.
        multiprocessing.Pool = ThreadPool
        describe: Callable[..., None] = getattr(harnesses, DESCRIBE)

        def describe_own(*plugins: object) -> None:
            describe(*(each for each in plugins if not isinstance(each, Endpoint)))

        setattr(harnesses, DESCRIBE, describe_own)

    def _probes(self) -> Iterator[tuple[Probe, list[Detector]]]:
        """The selected probes with their detectors, the primary one first."""
        spec = parse_spec_file({"include": self._selection.include(), "exclude": []})
        found = _selection.resolve_spec(spec, skip_unknown=True)
        if found.rejected or found.inactive or not found.probes:
            names = [name.removeprefix("probes.") for name, _ in _plugins.enumerate_plugins("probes")]
            raise self._selection.failure(found.inactive, names)
        for name in sorted(found.probes):
            short = name.removeprefix("probes.")
            try:
                probe = _plugins.load_plugin(name)
                primary = probe.primary_detector
                detectors = [_plugins.load_plugin(f"detectors.{primary}")]
            except Exception as error:  # noqa: BLE001  of any plugin, whatever it imports
                self._skip(short, error)
                continue
            self._primary[short] = primary
            self._limit(probe)
            if self._parameters.extended_detectors:
                detectors += self._extended(probe)
            yield probe, detectors

    def _extended(self, probe: Probe) -> Iterator[Detector]:
        for name in sorted(probe.extended_detectors):
            try:
                yield _plugins.load_plugin(f"detectors.{name}")
            except Exception as error:  # noqa: BLE001  of any plugin, whatever it imports
                self._skip(f"detector {name}", error)

    def _skip(self, name: str, error: Exception) -> None:
        self._skipped[name] = load_problem(error)
        say(f"{name} {self._skipped[name]}")

    def _limit(self, probe: Probe) -> None:
        """Keep ``prompts`` of a probe's prompts, drawn by the seed; garak's own limit is kept by some probes only."""
        prompts = list(getattr(probe, "prompts", ()))
        limit = self._parameters.prompts
        if limit is None or len(prompts) <= limit:
            return
        kept = sorted(random.Random(self._parameters.seed).sample(range(len(prompts)), limit))  # noqa: S311  not a secret
        probe.prompts = [prompts[number] for number in kept]
        triggers: Sequence[object] = getattr(probe, "triggers", ())
        if len(triggers) == len(prompts):
            probe.triggers = [triggers[number] for number in kept]

    def _scan(self, folder: Path, probes: Sequence[tuple[Probe, list[Detector]]], total: int) -> Answers:
        client = ModelClient(
            self._model,
            user_agent=f"evalhub-garak/{__version__}",
            timeout_s=self._parameters.timeout_s,
            max_retries=self._parameters.max_retries,
        )
        running: dict[str, float] = {}
        with client, SampleFile(self._run.samples) as file, ProgressReporter(self._run.events) as progress:
            answers = Answers(
                client,
                self._model,
                self._parameters.generation,
                file=file,
                previous=list(read_samples(self._run.previous_samples)),
                # Some probes build prompts from answers, so that the number is not known before.
                on_answer=lambda done: progress.update(done, max(done, total), running),
            )
            generator = Endpoint(self._model.name, answers)
            command.start_run()
            harness = harnesses.Harness()
            evaluator = ThresholdEvaluator(self._parameters.eval_threshold)
            for probe, detectors in probes:
                harness.run(generator, [probe], detectors, evaluator, announce_probe=False)
                running = self._report(folder).metrics()
                progress.update(answers.done, max(answers.done, total), running)
            command.end_run()
        return answers

    def _report(self, folder: Path) -> Report:
        """What garak has written so far."""
        entries = read_samples(folder / f"{PREFIX}.report.jsonl")
        return Report(entries, self._primary, self._parameters.eval_threshold)

    def _result(self, folder: Path, answers: Answers) -> Result:
        report = self._report(folder)
        metrics = report.metrics()
        count = replace_samples(self._run.samples, report.samples())
        if not metrics:
            raise NoResult(
                f"garak scored no output: {answers.refused} of {answers.done} prompts were refused by the endpoint"
            )
        notes = [f"{name} was left out: it {reason}" for name, reason in self._skipped.items()]
        if answers.refused:
            notes.append(
                f"the endpoint refused {answers.refused} of {answers.done} prompts, which are not scored"
            )
        if self._parameters.ignored:
            notes.append(
                f"parameters unknown to this adapter were ignored: {', '.join(self._parameters.ignored)}"
            )
        info: JsonObject = {
            "probes": self._primary,
            "generations": self._parameters.generations,
            "num_samples": count,
            "requests": answers.done,
            "reused_requests": answers.reused,
        }
        return Result(metrics=metrics, additional_info=info, warning="; ".join(notes) or None)


def _load_plugin_cache() -> None:
    """Load garak's list of its plugins, one process at a time.

    The first process of a user writes it to the cache directory, where others that start at the same time would read a part.
    """
    folder = _config.transient.cache_dir
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        _plugins.PluginCache.instance()
