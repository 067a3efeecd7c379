"""The lake: scheduled exports as Iceberg tables, one table for each schedule.

``models`` has the rows that name the tables, ``warehouse`` says where their files lie, and
``catalog`` opens them. ``columns`` decides names and types, ``data_files`` writes and lists files,
``appending`` adds a chunk of arrivals exactly once. ``rewriting`` removes rows, for ``erasing`` and
``upkeep``. ``query`` answers SQL. The record docs/decisions/0012-lake.md explains the choices.
"""
