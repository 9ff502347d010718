"""What a stack is applied to: an environment, a wheel or a tree, and the state it is in."""
