"""Changing a folder in place: apply and revert as one transaction each."""
