"""Values that may be forgotten at any time: without Redis nothing is remembered."""

from __future__ import annotations

from contextlib import suppress
from pickle import PickleError
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError

from istore.tasks.broker import reading


def recall(key: str) -> Any:
    """What was remembered under the key; None: nothing, or Redis is away."""
    try:
        with reading("GET"):
            return cache.get(key)
    except (RedisError, PickleError, EOFError):
        return None


def remember(key: str, value: Any, seconds: int | None = None) -> None:
    """Until the time is over; for good without one."""
    with suppress(RedisError), reading("SET"):
        cache.set(key, value, timeout=seconds)
