"""OpenInference tables: what models were asked and said, one row each, for analysis tools.

``names`` are the rules of the columns, ``layout`` says which a model has, ``reading`` and
``tables`` fill them, ``parquet``, ``avro``, ``csv`` and ``json_lines`` write them down, and
``schema_json`` and ``phoenix`` are for the tools of Phoenix. docs/tables.md is the
reference of the columns.
"""
