"""The database: its clock, time limits and compiled queries."""
