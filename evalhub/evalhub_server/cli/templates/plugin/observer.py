"""An observer for EvalHub Server: a line in a file for each change of a job's state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from evalhub_server.plugins import Descriptor, JobChanged, Observer, PluginContext, StartupError, hookimpl


class Settings(Struct, kw_only=True, frozen=True):
    """Section ``my-plugin`` of config.yaml. Descriptions are shown by ``eval-hub-server plugins my-plugin``."""

    file: Annotated[str, Meta(description="Where the lines are appended.")] = "job-changes.txt"


class MyPluginObserver(Observer):
    name = "my-plugin"

    def __init__(self, settings: Settings) -> None:
        self._file = Path(settings.file)

    async def check(self) -> None:
        if not self._file.absolute().parent.is_dir():
            raise StartupError(f"my-plugin.file: the directory of {self._file} does not exist. Create it.")

    def job_changed(self, change: JobChanged) -> None:
        before, after = change.before, change.after
        if before is not None and after is not None and before.state is after.state:
            return
        job = after or before
        if job is not None:
            state = after.state.value if after else "deleted"
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{job.id} {state}\n")


@hookimpl
def evalhub_observers() -> list[Descriptor[MyPluginObserver, Settings]]:
    return [
        Descriptor(
            api=1,
            name="my-plugin",
            factory=_make,
            settings=Settings,
            help="a line for each change of a state",
        )
    ]


def _make(settings: Settings, context: PluginContext) -> MyPluginObserver:
    return MyPluginObserver(settings)
