"""The HTTP service: ``ragvlm serve``."""
