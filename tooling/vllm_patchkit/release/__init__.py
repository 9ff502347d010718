"""A release: everything that is published, in one folder, with its checksums and notes."""
