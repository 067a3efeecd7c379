"""Capture: entries of the spool become blobs, markers and events."""
