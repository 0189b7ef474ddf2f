"""Workloads that measure Stepwell; see ``python -m benchmarks --help``."""
