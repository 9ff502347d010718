"""The library: types in, reports out; nothing is printed."""
