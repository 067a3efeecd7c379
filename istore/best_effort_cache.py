"""A best-effort cache in Redis: values may be lost at any time, and without Redis none is kept."""

from __future__ import annotations

from contextlib import suppress
from pickle import PickleError
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError

from istore.tasks.broker import reading


def recall(key: str) -> Any:
    """Return the cached value, or None if there is none or Redis is unavailable."""
    try:
        with reading("GET"):
            return cache.get(key)
    except (RedisError, PickleError, EOFError):
        return None


def remember(key: str, value: Any, seconds: int | None = None) -> None:
    """Cache a value for so many seconds, or without expiry. Errors of Redis are ignored."""
    with suppress(RedisError), reading("SET"):
        cache.set(key, value, timeout=seconds)
