"""Whether the store keeps its promises, how it does, and who may look."""
