"""Values that may be forgotten at any time: without Redis nothing is remembered."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError


def recall(key: str) -> Any:
    """What was remembered under the key; None: nothing, or Redis is away."""
    try:
        return cache.get(key)
    except RedisError:
        return None


def remember(key: str, value: Any, seconds: int | None = None) -> None:
    """Until the time is over; for good without one."""
    with suppress(RedisError):
        cache.set(key, value, timeout=seconds)
