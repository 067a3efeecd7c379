"""Insertion, change and removal of inferences: their rows and their blobs."""
