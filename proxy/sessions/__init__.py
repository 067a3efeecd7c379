"""Calls of inference sessions: the calls, their targets, and mocks that stream."""
