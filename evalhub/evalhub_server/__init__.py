"""EvalHub Server: runs LLM evaluations, one adapter per benchmark."""

__version__ = "1.1.0"
