"""The inference action of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ACTIONS = ("detect", "embed", "predict", "predict_proba")


def action_of(parameters: Mapping[str, Any], task_type: str | None) -> str:
    """Return the action: what the parameters say, else what the task type implies."""
    for name in ("action", "inference_action"):
        action = parameters.get(name)
        if isinstance(action, str) and action.strip().lower() in ACTIONS:
            return action.strip().lower()
    if task_type and "Detection" in task_type:
        return "detect"
    if task_type and "Embedding" in task_type:
        return "embed"
    return "predict"
