"""Benchmarks: ``python -m benchmarks`` compares servers in turns; the other modules are commands of their own."""
