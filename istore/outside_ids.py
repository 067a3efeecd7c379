"""The syntax of ids that callers give to models and inferences."""

from __future__ import annotations

from django.core.validators import RegexValidator

OUTSIDE_ID = RegexValidator(
    r"^(?!\.{1,2}\Z)[^\x00-\x1f\x7f-\x9f]{1,255}\Z",
    "One to 255 characters, none a control character, and neither '.' nor '..'.",
)
