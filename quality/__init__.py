"""How good a model's answers are, held against what came true, over any filter."""
