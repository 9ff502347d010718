"""Container images of a patched wheel: the plan, the context, the build, and fixed dates."""
