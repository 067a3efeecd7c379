"""What may be forgotten is remembered as long as Redis is there."""

from __future__ import annotations

from istore.best_effort_cache import recall, remember


def test_a_value_is_remembered():
    remember("test-remembering", {"a": [1, 2]}, 60)

    assert recall("test-remembering") == {"a": [1, 2]}
    assert recall("test-never-remembered") is None


def test_without_redis_nothing_is_remembered(settings):
    away = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1"}
    settings.CACHES = {"default": away}

    remember("test-remembering-away", 1)

    assert recall("test-remembering-away") is None
