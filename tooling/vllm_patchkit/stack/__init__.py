"""A stack of patches on disk and as a value."""
