"""Builders of other tests, for those who hand archives to other software or are called by it."""

from __future__ import annotations

from exports.tests.conftest import exported, make_stored
from proxy.tests.conftest import proxied, store

__all__ = ["exported", "make_stored", "proxied", "store"]
