"""The frameworks that have a managed environment: what is installed, imported and downloaded for each."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

PYTHONS = ((3, 11), (3, 12), (3, 13))
"""Versions of Python for which the locks are resolved."""

PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
"""``sys.platform`` and ``platform.machine()`` for which the locks are resolved."""

LOCKS = Path(__file__).parent / "locks"


class ExtraData(Struct, kw_only=True, frozen=True):
    """Data that a framework would download when it is imported.

    ``find`` and ``fetch`` are Python statements for the environment's interpreter, which fail if the data are missing or
    cannot be downloaded.
    """

    name: str
    needed_for: str
    find: str
    fetch: str


class Framework(Struct, kw_only=True, frozen=True):
    """A framework. ``name`` is that of its provider and its environment; ``distribution`` is the one whose version counts.

    ``size_mb`` is what the environment occupies, roughly. ``requirements`` are what its lock is resolved from, ``excluded``
    the distributions that are left out although others require them.
    """

    name: str
    title: str
    distribution: str
    requirements: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    imports: tuple[str, ...]
    data: tuple[ExtraData, ...] = ()
    size_mb: int

    @property
    def lock(self) -> Path:
        """The lock that is part of this distribution."""
        return LOCKS / f"{self.name}.txt"


_PUNKT = ExtraData(
    name="NLTK punkt_tab",
    needed_for="ifeval and its variants",
    find="import nltk; nltk.data.find('tokenizers/punkt_tab')",
    fetch=(
        "import sys, nltk; "
        "sys.exit(not nltk.download('punkt_tab', download_dir=sys.prefix + '/nltk_data', quiet=True))"
    ),
)

FRAMEWORKS = {
    framework.name: framework
    for framework in (
        Framework(
            name="lm_evaluation_harness",
            title="lm-evaluation-harness",
            distribution="lm-eval",
            requirements=("lm-eval[api,ifeval,math]",),
            imports=("lm_eval", "lm_eval.models.openai_completions", "langdetect", "math_verify"),
            data=(_PUNKT,),
            size_mb=700,
        ),
        Framework(
            name="inspect",
            title="Inspect",
            distribution="inspect-ai",
            requirements=("inspect-ai", "inspect-evals", "openai"),
            imports=("inspect_ai", "inspect_evals", "openai"),
            size_mb=700,
        ),
        Framework(
            name="garak",
            title="garak",
            distribution="garak",
            requirements=("garak",),
            excluded=("torch",),
            imports=("garak", "garak.cli", "garak.generators.openai"),
            size_mb=950,
        ),
    )
}


def install_command(name: str) -> str:
    """The command that installs a framework."""
    return f"eval-hub-server adapters install {name}"
