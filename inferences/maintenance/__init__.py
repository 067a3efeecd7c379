"""Maintenance: orphaned blobs, consistency checks, compaction and disk space."""
