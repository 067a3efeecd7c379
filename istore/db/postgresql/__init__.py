"""Django's backend for PostgreSQL, whose connections mean the same on every server."""
