"""Rivals, contests and counts for tools/benchmark.py and tools/complexity.py."""
