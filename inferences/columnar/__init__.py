"""Parquet and Arrow of anyone, read within limits."""
