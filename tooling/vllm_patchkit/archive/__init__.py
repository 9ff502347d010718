"""Zip archives, member by member: the only reader and writer of them."""
