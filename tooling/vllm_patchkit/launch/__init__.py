"""Starting the worker inside the interpreter, environment or image that is asked about."""
