"""Hypothesis profiles: ``--hypothesis-profile thorough`` for a long search."""

from hypothesis import settings

# A crowded machine is slow, not wrong: no deadlines.
settings.register_profile("normal", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile("normal")
