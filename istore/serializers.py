"""JSON into value objects, unknown fields refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from heapq import nsmallest
from typing import Any, ClassVar

from rest_framework import serializers

UNKNOWN_NAMED = 50  # of the fields that are not known; the rest would say no more
NAME_CHARS = 200

optional = {"required": False, "allow_null": True}


class ListOfValues(serializers.ListSerializer):
    """A list that may be null itself. DRF lets its members be, too, as it hands
    ``allow_null`` on to them; a null among values is no value."""

    def run_child_validation(self, data: Any) -> Any:
        if data is None:
            self.child.fail("null")
        return super().run_child_validation(data)


class StrictSerializer(serializers.Serializer):
    """A serializer that refuses what it does not know."""

    class Meta:
        list_serializer_class = ListOfValues

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := data.keys() - self.fields.keys()):
            error = serializers.ErrorDetail("There is no such field.", "unknown-field")
            named = nsmallest(UNKNOWN_NAMED, unknown)
            raise serializers.ValidationError(
                {name[:NAME_CHARS]: [error] for name in named}
            )
        return super().to_internal_value(data)

    @classmethod
    def parse(cls, data: Any, **context: Any) -> Any:
        """The validated data, or the ValidationError that says what is wrong."""
        if not context:
            return _shared(cls).run_validation(data)
        serializer = cls(data=data, context=context)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


@cache
def _shared(serializer: type[StrictSerializer]) -> StrictSerializer:
    # Copying the declared fields takes longer than reading a body by them.
    return serializer()


class ValueSerializer(StrictSerializer):
    """A serializer whose validated data is a value object. A null means "not set"."""

    value_class: ClassVar[type]

    def to_internal_value(self, data: Any) -> Any:
        fields = super().to_internal_value(data)
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            return self.build(given)
        except ValueError as error:
            detail = {"non_field_errors": [str(error)]}
            raise serializers.ValidationError(detail) from None

    def build(self, fields: dict[str, Any]) -> Any:
        """The value of the fields that are given. May raise ValueError."""
        return self.value_class(**fields)
