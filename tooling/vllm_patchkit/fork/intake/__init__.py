"""Reading other people's patches."""
