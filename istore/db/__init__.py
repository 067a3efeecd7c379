"""The database: its clock, statement timeouts, compiled queries, and its backend."""
