"""Quality: figures of a model's answers compared with ground truth, for any filter."""
