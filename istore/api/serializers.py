"""Serializers that turn JSON into value objects and refuse unknown fields by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from heapq import nsmallest
from typing import Any, ClassVar

from rest_framework import serializers

ERRORS_TOLD = 50  # listed for one value; more would not help its author
NAME_CHARS = 200

optional: dict[str, Any] = {"required": False, "allow_null": True}


class ListOfValues(serializers.ListSerializer[Any]):
    """A list that may be null itself. DRF lets its members be, too, as it hands
    ``allow_null`` on to them; a null among values is no value."""

    def run_child_validation(self, data: Any) -> Any:
        if data is None:
            assert self.child is not None
            self.child.fail("null")
        return super().run_child_validation(data)


class ListField(serializers.ListField):
    """A list of values. A list that is too long is refused before any value is validated.

    Validation stops at the first ``ERRORS_TOLD`` wrong members: half a million of them would take
    half a minute.
    """

    def to_internal_value(self, data: Any) -> Any:
        most = self.max_length
        if isinstance(data, list) and most is not None and len(data) > most:
            raise serializers.ValidationError(
                f"Ensure this field has no more than {most} elements.", "max_length"
            )
        return super().to_internal_value(data)

    def run_child_validation(self, data: Any) -> Any:
        return list(_read_members(self.child, enumerate(data)).values())


class DictField(serializers.DictField):
    """Values by name. Validation stops at the first ``ERRORS_TOLD`` wrong ones."""

    def run_child_validation(self, data: Any) -> Any:
        return _read_members(self.child, ((str(k), v) for k, v in data.items()))


def _read_members(
    field: serializers.Field[Any, Any, Any, Any], members: Iterable[tuple[Any, Any]]
) -> dict[Any, Any]:
    found, errors = {}, {}
    for place, value in members:
        try:
            found[place] = field.run_validation(value)
        except serializers.ValidationError as error:
            errors[place] = error.detail
            if len(errors) == ERRORS_TOLD:
                break
    if errors:
        raise serializers.ValidationError(errors)
    return found


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses what it does not know."""

    class Meta:
        list_serializer_class = ListOfValues

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := data.keys() - self.fields.keys()):
            error = serializers.ErrorDetail("There is no such field.", "unknown-field")
            named = nsmallest(ERRORS_TOLD, unknown)
            raise serializers.ValidationError(
                {name[:NAME_CHARS]: [error] for name in named}
            )
        return super().to_internal_value(data)

    @classmethod
    def parse(cls, data: Any, **context: Any) -> Any:
        """Return the validated data. Raises ``ValidationError``."""
        if not context:
            return _shared(cls).run_validation(data)
        serializer = cls(data=data, context=context)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


@cache
def _shared(serializer: type[StrictSerializer]) -> StrictSerializer:
    # Cached, because copying the declared fields takes longer than parsing a body.
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
        """Return the value made of the fields that were given. May raise ``ValueError``."""
        return self.value_class(**fields)
