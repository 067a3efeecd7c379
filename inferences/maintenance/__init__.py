"""Upkeep beside the records: orphans, consistency, compaction and disk space."""
