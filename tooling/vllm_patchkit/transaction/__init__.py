"""Changing a folder's files as one transaction: entirely old or entirely new, never between."""
