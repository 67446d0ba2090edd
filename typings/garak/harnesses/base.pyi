from collections.abc import Sequence

from garak.detectors.base import Detector
from garak.evaluators import ThresholdEvaluator
from garak.generators.base import Generator
from garak.probes.base import Probe

class Harness:
    def run(
        self,
        model: Generator,
        probes: Sequence[Probe],
        detectors: Sequence[Detector],
        evaluator: ThresholdEvaluator,
        announce_probe: bool = ...,
    ) -> None: ...
