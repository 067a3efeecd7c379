"""Fields and columns that several tables share."""

from __future__ import annotations

from typing import Any

from django.db import models

SLOT_TYPES = {
    "string": models.TextField,
    "integer": models.BigIntegerField,
    "float": models.FloatField,
}
SLOTS = {name: [f"{name}_{n}" for n in range(1, 9)] for name in SLOT_TYPES}


class RealField(models.FloatField):
    """Four bytes are enough for a score; a bound it is compared with is cast alike."""

    def db_type(self, connection: Any) -> str:
        return "real"

    def cast_db_type(self, connection: Any) -> str:
        return "real"
