"""Calls of inference sessions, their streams and their targets."""
