"""Hypothesis profiles: ``--hypothesis-profile thorough`` for a long search."""

from hypothesis import settings

# A crowded machine is slow, not wrong: no deadlines. CI tries the same examples every time; new ones
# are for the long search.
settings.register_profile("normal", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=5000)
settings.load_profile("normal")
