"""Builders of the tests of exports, for those who hand archives to other software."""

from __future__ import annotations

from exports.tests.conftest import exported, make_stored

__all__ = ["exported", "make_stored"]
