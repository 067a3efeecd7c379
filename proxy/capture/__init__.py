"""Capture: turn entries of the spool into blobs, commit markers and events."""
