"""A serializer field for the names of answer fields."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inferences.store.answer_fields import FIELDS, UnknownField, read_names
from istore.api.serializers import invalid

FIELDS_MAX = 100  # names in one request; there are far fewer fields


@extend_schema_field({"type": "array", "items": {"enum": list(FIELDS)}})
class FieldsField(serializers.Field[Any, Any, Any, Any]):
    """Names of fields, as a list or parted by commas."""

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        names = data.split(",") if isinstance(data, str) else data
        if not isinstance(names, list) or not all(type(n) is str for n in names):
            raise invalid("A list of names is expected.")
        if len(names) > FIELDS_MAX:
            raise invalid(f"More than {FIELDS_MAX} names.")
        try:
            return read_names(name.strip() for name in names)
        except UnknownField as error:
            raise invalid(str(error), code="unknown-field") from None
