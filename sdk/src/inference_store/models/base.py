"""Base classes of all models: requests are strict, responses are lenient."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class RequestModel(BaseModel):
    """A request. An unknown field is an error, so a misspelt filter never selects everything."""

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class AnswerModel(BaseModel):
    """A response. Fields that this version does not know are kept as they are."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


def moment_text(value: Any) -> Any:
    """Return a ``datetime`` as the text that the store parses; other values unchanged."""
    return value.isoformat() if isinstance(value, datetime) else value


def plain_list(value: Any) -> Any:
    """Return an array as a list; other values unchanged."""
    return value.tolist() if hasattr(value, "tolist") else value
