"""The pages of datasets, one module for each."""
