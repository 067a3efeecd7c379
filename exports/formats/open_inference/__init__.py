"""OpenInference tables: inputs and answers of models as rows, for analysis tools.

``names`` holds the rules of column names, ``layout`` decides a model's columns, ``reading`` and
``tables`` fill them, and ``parquet``, ``avro``, ``csv`` and ``json_lines`` write them.
``schema_json`` and ``phoenix`` serve the tools of Phoenix. docs/tables.md is the reference of
the columns.
"""
