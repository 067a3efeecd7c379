"""Scheduled exports: new records as Hive-partitioned Parquet files, each row exactly once.

``destinations`` are where files may go, ``lifecycle`` makes and changes schedules,
``runner`` carries a run out, ``files`` names and writes the parts. Why no row is met
twice or missed: docs/decisions/0005-scheduled-exports.md.
"""
