"""Parquet and Arrow files from anyone, read within limits."""
