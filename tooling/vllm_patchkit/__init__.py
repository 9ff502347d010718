"""Patch management and reproducible builds for vLLM forks."""

__version__ = "0.1.0"
