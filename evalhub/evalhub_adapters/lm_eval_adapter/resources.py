"""NLTK's data, which scoring may need: looked for before the requests of a run, not after them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lm_eval.api.task import Task

ANSWER = "An answer."
PUNKT = "tokenizers/punkt_tab"
"""What an install of the environment downloads where it can."""


def check_resources(tasks: Iterable[Task], limit: int | None) -> None:
    """Score an answer to each question if NLTK lacks data.

    Which data a question needs depends on it, for example on an instruction of IFEval about words.

    Raises:
        LookupError: the text names the data that are missing.
    """
    nltk = sys.modules.get("nltk")
    if nltk is None or _has_data(nltk):
        return
    for task in tasks:
        if callable(task.config.process_results) and not getattr(task.config, "unsafe_code", False):
            for doc in islice(task.eval_docs, limit):
                _score(task, doc)


def _score(task: Task, doc: object) -> None:
    try:
        task.process_results(doc, [ANSWER])
    except LookupError as error:
        if "Resource" in str(error):
            raise
    except Exception:  # noqa: BLE001, S110  the answer is none of a model
        pass


def _has_data(nltk: ModuleType) -> bool:
    try:
        nltk.data.find(PUNKT)
    except LookupError:
        return False
    return True
