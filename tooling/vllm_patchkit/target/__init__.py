"""What a stack is applied to: an environment, a wheel, or a tree."""
