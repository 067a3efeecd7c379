"""Pictures as pages show them, decoded in children."""
