"""Scheduled exports: new records as Hive-partitioned Parquet files, each row exactly once.

``destinations`` says where files may go, ``lifecycle`` creates and changes schedules,
``runner`` carries out a run, ``files`` names and writes the parts,
``erasing`` takes rows out of them again. The record
docs/decisions/0004-scheduled-exports.md explains why no row is exported twice or missed.
"""
