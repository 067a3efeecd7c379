"""Pipelines of adapters, which are the client's own (docs/decisions/0003)."""

from __future__ import annotations

from typing import Any


def check_pipeline(adapters: list[dict[str, Any]]) -> None:
    """Raises ValueError, with a sentence, unless they can be made."""
    from inference_store.adapters import create_pipeline

    create_pipeline(adapters)
