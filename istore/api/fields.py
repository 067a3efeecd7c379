"""Serializer fields that the APIs of all apps share."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import IntegerChoices
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from istore.json_text import format_moment
from istore.outside_ids import OUTSIDE_ID


@extend_schema_field(str)
class TextField(serializers.CharField):
    """A JSON string, unchanged: it is not trimmed, and a number is not accepted as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "allow_blank": True, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class OutsideIdField(TextField):
    """A ``model_id`` or ``inference_id``, of 1 to 255 characters."""

    def __init__(self, **options: Any) -> None:
        given = {"allow_blank": False, "validators": [OUTSIDE_ID], "max_length": 255}
        super().__init__(**given | options)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        # A selection may name 200,000 of them; the validators take 25 µs for each.
        if (
            type(data) is str
            and self.max_length is not None
            and 0 < len(data) <= self.max_length
            and data.isprintable()
        ):
            with suppress(ValidationError):
                OUTSIDE_ID(data)
                return data
        return super().run_validation(data)


class WholeField(serializers.IntegerField):
    """A JSON number without a fraction. Strings and booleans are refused."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class NumberField(serializers.FloatField):
    """A finite JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        try:
            value = float(data)
        except OverflowError:
            self.fail("overflow")
        if not math.isfinite(value):
            self.fail("overflow")
        return value


class FlagField(serializers.BooleanField):
    """A JSON boolean, ``true`` or ``false``."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class ParsedField(TextField):
    """A string that encodes a value of another type. An empty string never does."""

    def __init__(self, **options: Any) -> None:
        # DRF returns an allowed blank unchanged, without calling ``to_internal_value`` of
        # the subclass.
        super().__init__(**{"allow_blank": False, **options})


@extend_schema_field({"type": "string", "format": "date-time"})
class MomentField(ParsedField):
    """A time in RFC 3339, with microseconds. A time without a zone is read as UTC."""

    default_error_messages = dict.fromkeys(
        ("moment", "blank"), "A time such as 2026-01-31T12:00:00Z."
    )

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        try:
            moment = parse_datetime(text)
            if moment is None and (day := parse_date(text)):
                moment = datetime.combine(day, datetime.min.time())
            if moment is None:
                self.fail("moment")
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("moment")

    def to_representation(self, value: Any) -> str:
        return format_moment(value)


@extend_schema_field({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"})
class HashField(ParsedField):
    """A SHA-256: 64 hexadecimal digits on the wire, 32 bytes inside."""

    default_error_messages = dict.fromkeys(
        ("hash", "blank"), "A SHA-256 has 64 hexadecimal digits."
    )

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            self.fail("hash")
        return bytes.fromhex(text)

    def to_representation(self, value: Any) -> str:
        return bytes(value).hex()


class LabelField(serializers.ChoiceField):
    """A choice that is a number in the row and its label on the wire."""

    def __init__(self, choices: type[IntegerChoices], **options: Any) -> None:
        self.numbers = dict(zip(choices.labels, choices, strict=True))
        self.words = {number.value: label for label, number in self.numbers.items()}
        super().__init__(choices=choices.labels, **options)

    def to_internal_value(self, data: Any) -> Any:
        return self.numbers[super().to_internal_value(data)]

    def to_representation(self, value: Any) -> str:
        return self.words[int(value)]
