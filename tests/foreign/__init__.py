"""Checks against software that is not ours, each in an environment of its own."""
