"""What a failure of lm-evaluation-harness means to the user: one sentence for those with a known cause."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalhub_adapters.failures import explain_text, text_of
from evalhub_common.adapter.errors import BenchmarkFailed, DataUnavailable

INSTALL = "eval-hub-server adapters install lm_evaluation_harness"
_SCRIPT = re.compile(r"Couldn't find a module script at .*?(\w+)\.py")
_RESOURCE = re.compile(r"Resource \W*([\w.]+)\W* not found")


def explain(error: BaseException, task: str, data_sets: Sequence[str]) -> BenchmarkFailed | None:
    """The failure that an exception means; None if its cause is unknown.

    ``data_sets`` are those of the task, for messages that do not name one.
    """
    text = text_of(error)
    resource = _RESOURCE.search(text)
    if resource:
        return DataUnavailable(
            f"benchmark {task} needs '{resource[1]}' of NLTK, which could not be downloaded. With a network run: {INSTALL}"
        )
    script = _SCRIPT.search(text)
    if script:
        return DataUnavailable(
            f"benchmark {task} needs the metric '{script[1]}' of the package evaluate, which could not be downloaded from the "
            "Hugging Face Hub. Check the network, HF_HUB_OFFLINE and HF_HOME"
        )
    return explain_text(text, task, data_sets, INSTALL)
