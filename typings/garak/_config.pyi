from datetime import datetime
from pathlib import Path

class Transient:
    cache_dir: Path
    starttime: datetime
    starttime_iso: str

class System:
    lite: bool
    parallel_attempts: int

class Run:
    generations: int
    eval_threshold: float
    seed: int
    soft_probe_prompt_cap: int

class Plugins:
    target_type: str
    target_name: str
    extended_detectors: bool

class Reporting:
    report_dir: str
    report_prefix: str

transient: Transient
system: System
run: Run
plugins: Plugins
reporting: Reporting

def load_base_config() -> None: ...
