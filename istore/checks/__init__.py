"""Checks of the store: ``verify``, health, the operator page, and who may read metrics."""
