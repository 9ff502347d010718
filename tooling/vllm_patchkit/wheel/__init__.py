"""Reading hostile wheels and writing reproducible ones."""
