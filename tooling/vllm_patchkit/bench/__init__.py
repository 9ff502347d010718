"""Measurements of the patched vLLM, the same commands on every machine."""
