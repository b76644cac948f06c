"""What the same parts can do beside description, a file each."""
