"""Hypothesis profiles (``--hypothesis-profile thorough`` for a long search); the order of files."""

from hypothesis import settings

from support.order import pytest_collection_modifyitems  # noqa: F401

# A crowded machine is slow, not wrong: no deadlines. The same examples every time, so that a red
# job is repeated by its name; new ones are for the long search.
settings.register_profile("normal", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile("normal")
