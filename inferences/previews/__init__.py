"""Pictures as pages show them, decoded in child processes."""
