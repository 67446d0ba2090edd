"""What the adapter uses of lm-evaluation-harness 0.4.13, which is not installed where types are checked."""

__version__: str
