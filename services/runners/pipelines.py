"""Validate pipelines of adapters; adapters are those of the client (docs/decisions/0003)."""

from __future__ import annotations

from typing import Any


def check_pipeline(adapters: list[dict[str, Any]]) -> None:
    """Raise ValueError, with a sentence for people, unless the pipeline can be created."""
    from inference_store.adapters import create_pipeline

    create_pipeline(adapters)
