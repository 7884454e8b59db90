"""Benchmarks of single parts of the project: speed, memory, and the cost of the harness."""
