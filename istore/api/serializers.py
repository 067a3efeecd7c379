"""Serializers that turn JSON into value objects and refuse unknown fields by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from heapq import nsmallest
from itertools import islice
from typing import Any, ClassVar

from rest_framework import serializers

from istore.errors import FIELD_ERRORS_MAX, FieldError, Invalid

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

    Validation stops at the first ``FIELD_ERRORS_MAX`` wrong members: half a million of them
    would take half a minute.
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
    """Values by name. Validation stops at the first ``FIELD_ERRORS_MAX`` wrong ones."""

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
            if len(errors) == FIELD_ERRORS_MAX:
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
            named = nsmallest(FIELD_ERRORS_MAX, unknown)
            raise serializers.ValidationError(
                {name[:NAME_CHARS]: [error] for name in named}
            )
        return super().to_internal_value(data)

    @classmethod
    def parse(cls, data: Any, **context: Any) -> Any:
        """Return the validated data. Raises ``Invalid``."""
        try:
            return cls.parse_member(data, **context)
        except serializers.ValidationError as error:
            raise as_invalid(error) from None

    @classmethod
    def parse_member(cls, data: Any, **context: Any) -> Any:
        """Return what ``parse`` does, for another serializer. Raises ``ValidationError``."""
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


def invalid(
    message: str, *path: str | int, code: str = "invalid"
) -> serializers.ValidationError:
    """Return the ``Invalid`` of serializers, which collect those of all their fields.

    For example ``invalid("…", "filters", "metadata_filter", 0)``.
    """
    detail: Any = [serializers.ErrorDetail(message, code)]
    for step in reversed(path):
        detail = {str(step): detail}
    return serializers.ValidationError(detail)


def as_invalid(error: serializers.ValidationError) -> Invalid:
    """Return the errors that serializers collected as an error of the store."""
    return Invalid.of(islice(_flatten(error.detail), FIELD_ERRORS_MAX))


def _flatten(detail: Any, path: tuple[str, ...] = ()) -> Iterator[FieldError]:
    """Yield DRF's nested details one by one, each with the path to the wrong value.

    It is lazy, because there may be as many errors as values.
    """
    if isinstance(detail, serializers.ErrorDetail):
        yield FieldError(str(detail), path, detail.code or "invalid")
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            step = () if name == "non_field_errors" else (str(name),)
            yield from _flatten(inner, path + step)
    else:
        # A list holds either the messages of one value, or the errors of each member.
        members = any(not isinstance(each, serializers.ErrorDetail) for each in detail)
        for number, inner in enumerate(detail):
            yield from _flatten(inner, (*path, str(number)) if members else path)
