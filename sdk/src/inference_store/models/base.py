"""What all models share: requests are strict, answers are lenient."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class RequestModel(BaseModel):
    """Something sent. A misspelt field is an error here, before it could select all."""

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class AnswerModel(BaseModel):
    """Something received. Fields that this version does not know are kept as they are."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


def encoded(model: BaseModel) -> bytes:
    """The model as JSON in UTF-8; what was not set is left out."""
    fields = model.model_dump(mode="json", exclude_none=True)
    return json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()


def moment_text(value: Any) -> Any:
    """A ``datetime`` as the text the store reads; anything else unchanged."""
    return value.isoformat() if isinstance(value, datetime) else value


def plain_list(value: Any) -> Any:
    """An array as a list; anything else unchanged."""
    return value.tolist() if hasattr(value, "tolist") else value
