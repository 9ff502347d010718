"""One stack made of several: each parent's patches carried over those before it."""
