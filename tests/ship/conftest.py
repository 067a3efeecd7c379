"""The empty database that the tests of the supervisor have."""

from __future__ import annotations

from supervisor.tests.conftest import fresh_database

__all__ = ["fresh_database"]
