"""Configuration directories with providers whose benchmarks are scripted adapters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

STEPS = Path(__file__).parent / "steps.py"
PROVIDER = "scripted"


class Config:
    """Writes ``config.yaml`` and provider files into ``folder``; job directories are below it, too."""

    def __init__(self, folder: Path, **sections: dict[str, Any]) -> None:
        self.folder = folder
        self.jobs_dir = folder / "jobs"
        (folder / "providers").mkdir(parents=True)
        (folder / "collections").mkdir()
        sections.setdefault("local", {}).setdefault("jobs_dir", str(self.jobs_dir))
        sections.setdefault("service", {}).setdefault("port", 0)
        self.write("config.yaml", sections)

    def write(self, name: str, document: Any) -> Path:
        file = self.folder / name
        text = document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False)
        file.write_text(text, "utf-8")
        return file

    def provider(
        self,
        command: str | None,
        *benchmarks: str,
        provider_id: str = PROVIDER,
        benchmark: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
    ) -> str:
        """A provider that runs ``command`` for each of ``benchmarks`` (default: one called ``b``)."""
        local: dict[str, Any] = {
            "command": command,
            "env": [{"name": n, "value": v} for n, v in (env or {}).items()],
        }
        document = {
            "id": provider_id,
            "name": provider_id,
            "runtime": {"local": local if command is not None else None},
            "benchmarks": [
                {"id": b, "name": b, "category": "test", **(benchmark or {})} for b in benchmarks or ["b"]
            ],
        }
        self.write(f"providers/{provider_id}.yaml", document)
        return provider_id

    def image(
        self, image: str, *benchmarks: str, provider_id: str = PROVIDER, env: dict[str, str] | None = None
    ) -> str:
        """A provider that runs ``image`` in a cluster; see ``kube/scripts.py`` for scripted images."""
        variables = [{"name": n, "value": v} for n, v in (env or {}).items()]
        document = {
            "id": provider_id,
            "name": provider_id,
            "runtime": {"k8s": {"image": image, "env": variables}},
            "benchmarks": [{"id": b, "name": b, "category": "test"} for b in benchmarks or ["b"]],
        }
        self.write(f"providers/{provider_id}.yaml", document)
        return provider_id

    def scripted(self, *steps: str, provider_id: str = PROVIDER, benchmarks: tuple[str, ...] = ()) -> str:
        """A provider whose adapters run ``steps``; see ``steps.py``."""
        return self.provider(steps_command(*steps), *benchmarks, provider_id=provider_id)


def steps_command(*steps: str) -> str:
    words = " ".join(f"'{step}'" for step in steps)
    return f"exec '{sys.executable}' -S -E '{STEPS}' {words}"
