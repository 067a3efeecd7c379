"""Rows and objects as they are stored, changed and removed."""
