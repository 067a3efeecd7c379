"""Traces as JSON, and what may be asked of their list."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from inferences.search.text import moment_in
from istore.api.fields import MomentField, OutsideIdField, ParsedField, TextField
from istore.api.serializers import ValueSerializer
from protocols.otlp.draft import KINDS
from traces.listing import ERROR, LIMIT_MAX, OK, TraceQuery
from traces.models import NAME_CHARS

TEXT_CHARS = 1024
SECONDS_MAX = 10.0**9


class SecondsField(ParsedField):
    """A number of seconds, not below 0."""

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= SECONDS_MAX:
            raise serializers.ValidationError("A number of seconds, not below 0.")
        return seconds


class WhenField(ParsedField):
    """A day, a time, or a time before now such as ``24h``; of an end, the day is all of it."""

    def __init__(self, *, is_end: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.is_end = is_end

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        try:
            return moment_in(text[:64], end_of_day=self.is_end)
        except (ValueError, OverflowError) as error:
            raise serializers.ValidationError(str(error)) from None


class LimitField(ParsedField):
    """A whole number from 1 to ``LIMIT_MAX``."""

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        is_number = text.isascii() and text.isdecimal() and len(text) < 10
        if not (is_number and 0 < int(text) <= LIMIT_MAX):
            message = f"A whole number from 1 to {LIMIT_MAX}."
            raise serializers.ValidationError(message)
        return int(text)


def _text(most: int = TEXT_CHARS, **more: Any) -> TextField:
    return TextField(required=False, max_length=most, allow_blank=False, **more)


class TraceQuerySerializer(ValueSerializer):
    """The parameters of the list of traces, which are texts."""

    value_class = TraceQuery

    start = WhenField(required=False)
    end = WhenField(is_end=True, required=False)
    model: Any = OutsideIdField(required=False, source="model_id")
    service = _text()
    session = _text()
    kind = serializers.ChoiceField(KINDS, required=False)
    status = serializers.ChoiceField((OK, ERROR), required=False)
    name = _text(NAME_CHARS)
    least_seconds = SecondsField(required=False)
    most_seconds = SecondsField(required=False)
    limit = LimitField(required=False)
    cursor = _text()


class TraceSummarySerializer(serializers.Serializer[Any]):
    """A trace in a list. Its duration is in seconds, from the first span to the end of the last."""

    trace_id = serializers.CharField()
    name = serializers.CharField(help_text="Of its root, or of the first span.")
    started_at = MomentField()
    ended_at = MomentField()
    duration = serializers.FloatField()
    span_count = serializers.IntegerField()
    error_count = serializers.IntegerField()
    models: Any = serializers.ListField(child=serializers.CharField())
    services = serializers.ListField(child=serializers.CharField())
    sessions = serializers.ListField(child=serializers.CharField())


class TracesSerializer(serializers.Serializer[Any]):
    """A page of traces, newest first.

    ``searched_until`` is set where the search ended early: the page may have fewer traces than
    asked for, and ``next`` goes on behind that time.
    """

    results = TraceSummarySerializer(source="traces", many=True)
    next = serializers.CharField(allow_null=True)
    searched_until = MomentField(allow_null=True)


class CostSerializer(serializers.Serializer[Any]):
    """An amount; of what an application stated, the currency is not known."""

    amount = serializers.FloatField()
    currency = serializers.CharField(allow_blank=True)


class SpanSerializer(serializers.Serializer[Any]):
    """A span in its trace, with the inference that it is."""

    span_id = serializers.CharField()
    parent_id = serializers.CharField(allow_null=True)
    depth = serializers.IntegerField()
    is_orphan = serializers.BooleanField(help_text="Its parent is not in the store.")
    name = serializers.CharField()
    kind = serializers.CharField()
    model_id = serializers.CharField()
    inference_id = serializers.CharField()
    started_at = MomentField()
    ended_at = MomentField()
    duration = serializers.FloatField()
    is_error = serializers.BooleanField()
    message = serializers.CharField(help_text="Why it failed.")
    service = serializers.CharField()
    session = serializers.CharField()
    user = serializers.CharField()
    prompt_tokens = serializers.IntegerField(allow_null=True)
    completion_tokens = serializers.IntegerField(allow_null=True)
    total_tokens = serializers.IntegerField(allow_null=True)
    cost = CostSerializer(allow_null=True)


class TraceSerializer(serializers.Serializer[Any]):
    """A trace: its spans depth first, each with its depth, those of one parent by their beginning.

    The sums count a call once, where a framework repeats its tokens on the spans around it.
    ``is_cut`` says that the trace has more spans.
    """

    trace_id = serializers.CharField()
    name = serializers.CharField()
    started_at = MomentField()
    ended_at = MomentField()
    duration = serializers.FloatField()
    span_count = serializers.IntegerField()
    error_count = serializers.IntegerField()
    total_tokens = serializers.IntegerField(allow_null=True)
    costs = CostSerializer(many=True)
    is_cut = serializers.BooleanField()
    spans = SpanSerializer(many=True)
