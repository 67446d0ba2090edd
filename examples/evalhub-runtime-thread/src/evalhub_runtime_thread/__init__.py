"""A runtime for EvalHub Server that calls a Python function in a thread."""
