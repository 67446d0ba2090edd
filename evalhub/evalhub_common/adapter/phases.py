"""Phases of a running benchmark, in the order in which an adapter reports them."""

from __future__ import annotations

from typing import Literal, get_args

Phase = Literal[
    "initializing",
    "loading_data",
    "running_evaluation",
    "post_processing",
    "persisting_artifacts",
    "completed",
]
PHASES: tuple[Phase, ...] = get_args(Phase)
