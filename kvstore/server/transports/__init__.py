"""What carries calls to the method table."""
