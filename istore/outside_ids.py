"""The syntax of ids that callers give to models and inferences."""

from __future__ import annotations

import re

from django.core.validators import RegexValidator

PATTERN = r"^(?!\.{1,2}\Z)[^\x00-\x1f\x7f-\x9f]{1,255}\Z"
OUTSIDE_ID = RegexValidator(
    PATTERN,
    "One to 255 characters, none a control character, and neither '.' nor '..'.",
)
_compiled = re.compile(PATTERN)


def is_outside_id(value: str) -> bool:
    """Return whether the text is such an id."""
    return _compiled.match(value) is not None
