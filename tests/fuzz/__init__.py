"""Fuzzing: a harness for each reader of foreign bytes, run by hypothesis and by atheris."""
