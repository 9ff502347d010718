"""The machine: files, processes, the cache and the terminal."""
