"""What an answer must look like: the JSON schema of an interface.

Schemas come with requests and are checked against on the way of every call. So patterns
are matched by an engine whose time is bounded by the length of the text, and nothing is
fetched for a reference.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

REMEMBERED = 256
MESSAGE_CHARS = 300


def check_schema(schema: dict[str, Any]) -> None:
    """Raises ValueError, with a sentence, unless answers can be checked against it."""
    _validator(orjson.dumps(schema))


def misfit(schema: dict[str, Any], value: Any) -> str:
    """Where a value does not fit the schema and why; empty when it does."""
    error = next(_validator(orjson.dumps(schema)).iter_errors(value), None)
    return _told(error) if error else ""


@lru_cache(REMEMBERED)
def _validator(schema: bytes) -> Any:
    try:
        return Draft202012Validator(
            orjson.loads(schema), pattern_options=RegexOptions(), offline=True
        )
    except (ValidationError, ValueError) as error:
        raise ValueError(f"It is not a usable JSON schema: {_told(error)}") from None


def _told(error: Exception) -> str:
    where = "".join(f"[{each!r}]" for each in getattr(error, "instance_path", ()))
    message = getattr(error, "message", None) or str(error)
    return f"${where}: {message}"[:MESSAGE_CHARS]
