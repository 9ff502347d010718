"""The private git repository that stacks are kept in as commits."""
