"""Carrying a stack to another release."""
