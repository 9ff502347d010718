"""Explain an environment before vLLM's own stack trace does."""
