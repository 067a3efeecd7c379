"""Maps of a model's embeddings: fit a projection, lay out neighbours, draw the points."""
