"""Segments of few rows, so that small stores have many."""

from __future__ import annotations

import pytest

from inferences.search.zone_maps import build, counts, groups


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Segments of a few rows, of models with few."""
    for name, number in (("ROWS", 8), ("OPEN", 2), ("LEAST", 12)):
        monkeypatch.setattr(build, name, number)
    monkeypatch.setattr(counts, "SEGMENTS_LEAST", 1)
    monkeypatch.setattr(groups, "SIZE", 3)
