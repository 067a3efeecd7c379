"""Reading rows of inferences."""

from __future__ import annotations

import pytest

from inferences.models import SourceName
from inferences.store import reading

pytestmark = pytest.mark.django_db


def test_sources_stay_for_who_has_found_them_when_the_cache_is_full(model, monkeypatch):
    monkeypatch.setattr(reading, "_sources", {})
    monkeypatch.setattr(reading, "SOURCES_REMEMBERED", 0)
    one, other = (
        SourceName.objects.create(registered_model=model, name=name)
        for name in ("north", "south")
    )
    found = reading.find_sources([one.pk, None])
    reading.find_sources([other.pk])  # as another thread does
    assert found[one.pk] == one
