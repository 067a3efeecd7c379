"""Column types that several tables share, and the names of the metadata slots."""

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
    """A four-byte float, which is enough for a score.

    A bound that a filter compares it with is cast to four bytes as well.
    """

    def db_type(self, connection: Any) -> str:
        return "real"

    def cast_db_type(self, connection: Any) -> str:
        return "real"


class BitsField(models.TextField):
    """A string of bits, of any length."""

    def db_type(self, connection: Any) -> str:
        return "varbit"

    def cast_db_type(self, connection: Any) -> str:
        return "varbit"
