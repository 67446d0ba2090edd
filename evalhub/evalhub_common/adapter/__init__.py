"""What an adapter needs besides its framework: job specification, model, events, sample file and the course of a run.

An adapter is a program that runs one benchmark. It passes an :class:`~evalhub_common.adapter.program.Adapter` to
:func:`~evalhub_common.adapter.program.run_adapter`, which returns the exit status::

    class MyAdapter(Adapter):
        name, version = "my-adapter", "1.0"

        def evaluate(self, run: Run) -> Result:
            model = read_model(run.document.get("model"), run.environ)
            run.events.running("running_evaluation", total=2)
            with SampleFile(run.samples) as samples:
                samples.write({"sample_id": "1", "metrics": {"acc": 1.0}})
            return Result(metrics={"acc": 1.0})

    if __name__ == "__main__":
        raise SystemExit(run_adapter(MyAdapter()))

``run_adapter`` reads job.json, exits at once on SIGTERM and SIGINT, and reports the result or the failure. ``evaluate``
reports phases with ``run.events`` and progress with it or with a :class:`~evalhub_common.adapter.progress.ProgressReporter`, and
raises :class:`~evalhub_common.adapter.errors.BenchmarkFailed`, with one
sentence for the user, where no result is possible.

Importing a module of this package imports the standard library and :mod:`evalhub_common` only.
"""
