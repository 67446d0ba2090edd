from collections.abc import Sequence

class Probe:
    primary_detector: str
    extended_detectors: Sequence[str]
    prompts: Sequence[object]
    triggers: Sequence[object]
