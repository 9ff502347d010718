"""These tests are of the stack's own scenarios and of its front end."""

from support import own as own
