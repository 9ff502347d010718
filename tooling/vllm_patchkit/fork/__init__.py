"""Keeping a fork alive: import, edit, refresh, rebase."""
