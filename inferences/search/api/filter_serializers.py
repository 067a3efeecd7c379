"""Serializers that turn the filter bodies of the API contract into filter values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inferences.models import InferenceAction, InferenceQuerySet, RegisteredModel
from inferences.search import text
from inferences.search.api.quick_queries import read_quickly
from inferences.search.counting import CountQuery
from inferences.search.filters import (
    And,
    ClassFilter,
    DetectionFilter,
    Filter,
    FullTextFilter,
    GeoCircle,
    GeoPoint,
    GeoRectangle,
    HasInput,
    HasKey,
    HasWarnings,
    InferenceFilter,
    IsNotUnderstood,
    IsProtected,
    LocationFilter,
    MetadataFilter,
    NoDetections,
    Not,
    Or,
    TimeWindow,
    TruthFilter,
    TruthLabelFilter,
)
from inferences.search.filters.existence import TYPES
from inferences.search.filters.full_text import SIDES
from inferences.search.filters.ground_truth import STATES
from inferences.search.filters.in_dataset import InDataset
from inferences.search.filters.in_session import InSession
from inferences.search.filters.in_trace import InTrace
from inferences.search.filters.intersection import all_of
from inferences.search.filters.metadata import (
    LOOKUPS,
    OPERATORS,
    READERS,
    STATED_TYPES,
    STRING_KEYS,
)
from inferences.search.filters.status import filter_of as filter_of_status
from inferences.search.filters.text_expressions import CHARS_MAX
from inferences.search.filters.tree import DEPTH_MAX
from inferences.search.leaving_out import all_matching_but
from inferences.search.pagination import CURSOR_MAX_CHARS, SORTS, Pagination
from inferences.search.query import InferenceQuery
from inferences.search.vectors import METRICS, EmbeddingFilter
from inferences.store.api.fields_field import FieldsField
from istore.api.fields import (
    FlagField,
    HashField,
    LabelField,
    MomentField,
    NumberField,
    OutsideIdField,
    TextField,
    WholeField,
)
from istore.api.serializers import (
    ListField,
    StrictSerializer,
    ValueSerializer,
    invalid,
    optional,
)

EXCLUDED_MAX = 200_000  # ids that a call may leave out
TEXT_MAX_CHARS = 10_000  # of a text to search by


class TimeWindowSerializer(ValueSerializer):
    value_class = TimeWindow

    start = MomentField(**optional)
    end = MomentField(**optional)


class MetadataFilterSerializer(ValueSerializer):
    value_class = MetadataFilter

    key = TextField(max_length=1024, allow_blank=False)
    type = serializers.ChoiceField(STATED_TYPES)
    operator = serializers.ChoiceField(list(LOOKUPS))
    value = TextField()


class GeoPointSerializer(ValueSerializer):
    value_class = GeoPoint

    latitude = NumberField(min_value=-90, max_value=90)
    longitude = NumberField(min_value=-180, max_value=180)


class GeoCircleSerializer(ValueSerializer):
    value_class = GeoCircle

    center = GeoPointSerializer()
    radius = NumberField(min_value=0)


class GeoRectangleSerializer(ValueSerializer):
    value_class = GeoRectangle

    p1 = GeoPointSerializer()
    p2 = GeoPointSerializer()


class LocationFilterSerializer(ValueSerializer):
    value_class = LocationFilter

    gps_coordinates_circle = GeoCircleSerializer(source="circle", **optional)
    gps_coordinates_rectangle = GeoRectangleSerializer(source="rectangle", **optional)


class DetectionFilterSerializer(ValueSerializer):
    value_class = DetectionFilter

    labels = ListField(
        child=TextField(), max_length=settings.ISTORE_FILTER_MAX_VALUES, **optional
    )
    minimum_score = NumberField(**optional)
    maximum_score = NumberField(**optional)


class InferenceFilterSerializer(ValueSerializer):
    value_class = InferenceFilter

    inference_action_filter = LabelField(
        InferenceAction, source="inference_action", **optional
    )
    data_hash_filter = HashField(source="data_hash", **optional)
    data_source_filter = TextField(source="data_source", **optional)
    time_window_filter = TimeWindowSerializer(source="time_window", **optional)
    # The length is an argument of the list that DRF makes of it.
    metadata_filter = MetadataFilterSerializer(  # type: ignore[call-arg]
        source="metadata",
        many=True,
        max_length=settings.ISTORE_FILTER_MAX_CONDITIONS,
        **optional,
    )
    location_filter = LocationFilterSerializer(source="location", **optional)
    deconstructed_inference_filter = DetectionFilterSerializer(
        source="detections", **optional
    )


class ComparisonSerializer(MetadataFilterSerializer):
    """A comparison within a tree, where there are more operators, and numbers of any type."""

    type = serializers.ChoiceField(list(READERS))
    operator = serializers.ChoiceField(list(OPERATORS))


class BoundsSerializer(DetectionFilterSerializer):
    """Within a tree a score may have bounds that are not included."""

    above_score = NumberField(**optional)
    below_score = NumberField(**optional)


class ClassFilterSerializer(ValueSerializer):
    """A class of the distribution with its probability, both of the same class."""

    value_class = ClassFilter

    label: Any = TextField(allow_blank=False)
    minimum_score = NumberField(**optional)
    maximum_score = NumberField(**optional)
    above_score = NumberField(**optional)
    below_score = NumberField(**optional)


class HasKeySerializer(ValueSerializer):
    value_class = HasKey

    key = TextField(max_length=1024, allow_blank=False)
    type = serializers.ChoiceField(TYPES, **optional)


@extend_schema_field(str)
class StatusField(serializers.Field[Any, Any, Any, Any]):
    """How a call ended, as ``status:`` of text queries: ``failed``, ``ok``, ``429``, ``5xx``, …"""

    def to_internal_value(self, data: Any) -> Filter:
        if not isinstance(data, str):
            raise invalid("A text is expected.")
        try:
            return filter_of_status(data)
        except ValueError as error:
            raise invalid(str(error)) from None


class TraceField(TextField):
    """The id of a trace, as the filter on it."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return InTrace(super().to_internal_value(data))
        except ValueError as error:
            raise invalid(str(error)) from None


class LeafSerializer(InferenceFilterSerializer):
    """The fields of the contract and further ones; together they are an intersection."""

    # As above.
    metadata_filter = ComparisonSerializer(  # type: ignore[call-arg]
        source="metadata",
        many=True,
        max_length=settings.ISTORE_FILTER_MAX_CONDITIONS,
        **optional,
    )
    deconstructed_inference_filter = BoundsSerializer(source="detections", **optional)
    class_filter = ClassFilterSerializer(**optional)
    has_key = HasKeySerializer(**optional)
    has_input = FlagField(**optional)
    has_warnings = FlagField(**optional)
    is_not_understood = FlagField(**optional)
    is_protected = FlagField(**optional)
    no_detections = FlagField(**optional)
    ground_truth = serializers.ChoiceField(STATES, **optional)
    ground_truth_label = TextField(allow_blank=False, **optional)
    in_dataset = TextField(max_length=255, allow_blank=False, **optional)
    in_split = TextField(max_length=40, allow_blank=False, **optional)
    in_any_dataset = FlagField(**optional)
    status = StatusField(**optional)
    text = TextField(max_length=CHARS_MAX, allow_blank=False, **optional)
    prompt = TextField(max_length=CHARS_MAX, allow_blank=False, **optional)
    answer = TextField(max_length=CHARS_MAX, allow_blank=False, **optional)
    in_trace: Any = TraceField(**optional)
    model_version = TextField(**optional)
    environment = TextField(**optional)
    conversation_id = TextField(**optional)

    FLAGS: ClassVar[dict[str, Filter]] = {
        "has_input": HasInput(),
        "has_warnings": HasWarnings(),
        "is_not_understood": IsNotUnderstood(),
        "is_protected": IsProtected(),
        "no_detections": NoDetections(),
        "in_any_dataset": InDataset(),
    }

    def build(self, fields: dict[str, Any]) -> Filter:
        further: list[Filter] = []
        for name in ("class_filter", "has_key"):
            if leaf := fields.pop(name, None):
                further.append(leaf)
        for name, leaf in self.FLAGS.items():
            if (holds := fields.pop(name, None)) is not None:
                further.append(leaf if holds else Not(leaf))
        if state := fields.pop("ground_truth", None):
            further.append(TruthFilter(state))
        if label := fields.pop("ground_truth_label", None):
            further.append(TruthLabelFilter(label))
        name, split = fields.pop("in_dataset", None), fields.pop("in_split", None)
        if name or split:
            further.append(InDataset(name, split))
        if status := fields.pop("status", None):
            further.append(status)
        for side in SIDES:
            if (words := fields.pop(side, None)) is not None:
                try:
                    further.append(FullTextFilter(side, words))
                except ValueError as error:
                    raise invalid(str(error), side) from None
        if trace := fields.pop("in_trace", None):
            further.append(trace)
        if (session := fields.pop("conversation_id", None)) is not None:
            further.append(InSession(session))
        for key in STRING_KEYS:
            if (value := fields.pop(key, None)) is not None:
                further.append(MetadataFilter(key, "string", "=", value))
        return all_of([super().build(fields), *further])


@extend_schema_field(
    {
        "type": "object",
        "description": "One of {and: [..]}, {or: [..]} and {not: {..}}, or a leaf: the "
        "fields of `filters` and further ones. See docs/queries.md.",
    }
)
class TreeField(serializers.Field[Any, Any, Any, Any]):
    """AND, OR and NOT over leaves, as JSON."""

    def to_internal_value(self, data: Any) -> Filter:
        if _leaf_count(data) > settings.ISTORE_FILTER_MAX_CONDITIONS:
            most = settings.ISTORE_FILTER_MAX_CONDITIONS
            raise invalid(f"More than {most} conditions.")
        return self._read(data, DEPTH_MAX)

    def _read(self, data: Any, levels: int) -> Filter:
        if not isinstance(data, Mapping):
            raise invalid("An object is expected.")
        kinds = data.keys() & {"and", "or", "not"}
        if not kinds:
            leaf: Filter = LeafSerializer.parse_member(data)
            return leaf
        if len(data) > 1:
            raise invalid("and, or and not stand alone, and beside no leaf.")
        if not levels:
            raise invalid(f"More than {DEPTH_MAX} levels of and, or and not.")
        (kind,) = kinds
        try:
            if kind == "not":
                return Not(self._part(data["not"], levels, "not"))
            if not isinstance(data[kind], list) or not data[kind]:
                raise invalid("A list with at least one member is expected.", kind)
            parts = [
                self._part(part, levels, kind, number)
                for number, part in enumerate(data[kind])
            ]
            return (And if kind == "and" else Or)(tuple(parts))
        except ValueError as error:
            raise invalid(str(error), kind) from None

    def _part(self, data: Any, levels: int, *path: str | int) -> Filter:
        try:
            return self._read(data, levels - 1)
        except serializers.ValidationError as error:
            detail: Any = error.detail
            for step in reversed(path):
                detail = {str(step): detail}
            raise serializers.ValidationError(detail) from None


def _leaf_count(data: Any) -> int:
    """Return how many leaves a tree has, counted before any of it is parsed."""
    count, waiting = 0, [data]
    while waiting and count <= settings.ISTORE_FILTER_MAX_CONDITIONS:
        each = waiting.pop()
        parts = each.get("and") or each.get("or") if isinstance(each, Mapping) else None
        if isinstance(parts, list):
            waiting += parts[: settings.ISTORE_FILTER_MAX_CONDITIONS + 1]
        elif isinstance(each, Mapping) and "not" in each:
            waiting.append(each["not"])
        else:
            count += 1
    return count


@extend_schema_field(str)
class TextQueryField(serializers.Field[Any, Any, Any, Any]):
    """A query as people type it."""

    def to_internal_value(self, data: Any) -> Filter:
        if not isinstance(data, str):
            raise invalid("A text is expected.")
        try:
            return text.parse(data)
        except text.TextQueryError as error:
            raise invalid(str(error)) from None


CHOOSING = ("filters", "filter", "query")


class FilteredSerializer(StrictSerializer):
    """A body that says which inferences: by ``filters``, ``filter`` and ``query``.

    All that are given must hold; ``filters`` of the result is the one ``Filter`` they
    make. In calls that read, a part that says nothing matches everything. Where
    ``is_change`` is set, what is chosen is changed, removed or handed on: there such a
    part is a 400 that names it. Where ``must_choose`` is set, too, at least one of the
    three has to be there, so that a misspelt filter never means everything.
    """

    is_change: ClassVar[bool] = False
    must_choose: ClassVar[bool] = False

    filters = InferenceFilterSerializer(**optional)
    filter = TreeField(**optional)
    query = TextQueryField(**optional)

    def to_internal_value(self, data: Any) -> Any:
        fields = super().to_internal_value(data)
        given = [fields.pop(name, None) for name in CHOOSING]
        if self.is_change:
            check_says_something(data)
        if self.must_choose and all(each is None for each in given):
            message = "This field is required, or filter, or query."
            raise invalid(message, "filters", code="required")
        chosen = [each for each in given if each is not None]
        if chosen:
            try:
                fields["filters"] = all_of(chosen)
            except ValueError as error:
                raise invalid(str(error), "filters") from None
        return fields


class ChangedSelectionSerializer(FilteredSerializer):
    """A body that says which inferences a call changes or removes: all that match but some.

    A filter must be there: a misspelt one must never mean everything.
    """

    is_change = must_choose = True

    exclude_inference_ids = ListField(
        child=OutsideIdField(),
        required=False,
        max_length=EXCLUDED_MAX,
        help_text="These are left as they are, although they match.",
    )


def matching_but(
    model: RegisteredModel, wanted: Mapping[str, Any]
) -> InferenceQuerySet:
    """Return what a valid ``ChangedSelectionSerializer`` chooses."""
    excluded = wanted.get("exclude_inference_ids") or ()
    return all_matching_but(model, wanted["filters"], excluded)


def check_says_something(body: Mapping[str, Any]) -> None:
    """Raise a 400 for a part of a filter that would silently match everything.

    Such parts are nulls, empty texts, and objects and lists without members, at any depth.
    Only ``filters`` itself may be ``{}``, which means everything.
    """
    for name in CHOOSING:
        if name in body and (name, body[name]) != ("filters", {}):
            _check_part(body[name], name)
    if not body.get("query", "*").strip():
        raise invalid("A blank query chooses nothing; * is everything.", "query")


def _check_part(part: Any, *path: str | int) -> None:
    if part is None:
        raise invalid("A null chooses nothing; leave it out.", *path, code="null")
    if part == "" and path != ("query",):
        message = 'An empty text chooses nothing; in a query it is written "".'
        raise invalid(message, *path, code="blank")
    if isinstance(part, Mapping | list) and not part:
        message = "This part says nothing, and would match everything; leave it out."
        raise invalid(message, *path, code="empty")
    members: Iterable[tuple[Any, Any]] = ()
    if isinstance(part, Mapping):
        members = part.items()
    elif isinstance(part, list):
        members = enumerate(part)
    for step, member in members:
        _check_part(member, *path, step)


class PaginationSerializer(ValueSerializer):
    value_class = Pagination

    direction = serializers.ChoiceField(["asc", "desc"], **optional)
    limit = WholeField(min_value=1, max_value=settings.ISTORE_PAGE_MAX, **optional)
    offset = WholeField(min_value=0, max_value=2**31, **optional)
    sort = serializers.ChoiceField(list(SORTS), **optional)
    cursor = TextField(max_length=CURSOR_MAX_CHARS, **optional)


class TaskPaginationSerializer(PaginationSerializer):
    """A page of tasks, which have one order."""

    sort = serializers.ChoiceField(["created_at"], **optional)


class VectorField(serializers.Field[Any, Any, Any, Any]):
    """A list of finite numbers; written out, as a list may be long."""

    default_error_messages = {"vector": "A list of finite numbers."}

    def to_internal_value(self, data: Any) -> tuple[float, ...]:
        # In Python bool is a subclass of int, but in JSON a boolean is no number.
        if not isinstance(data, list) or not {*map(type, data)} <= {int, float}:
            self.fail("vector")
        try:
            return tuple(map(float, data))
        except OverflowError:
            self.fail("vector")


class EmbeddingFilterSerializer(ValueSerializer):
    """``similar_to`` names an inference whose own embedding is measured from.

    ``text`` is embedded by the service that the model names.
    """

    value_class = EmbeddingFilter

    query_embedding = VectorField(**optional)
    distance_metric = serializers.ChoiceField(list(METRICS), **optional)
    similar_to = OutsideIdField(**optional)
    text = TextField(max_length=TEXT_MAX_CHARS, allow_blank=False, **optional)


class InferenceQuerySerializer(ValueSerializer, FilteredSerializer):
    value_class: ClassVar[type[InferenceQuery]] = InferenceQuery

    embedding_filters = EmbeddingFilterSerializer(source="embedding", **optional)
    pagination = PaginationSerializer(**optional)
    presign = FlagField(required=False, default=False)
    fields: Any = FieldsField(**optional)

    @classmethod
    def parse(cls, data: Any, **context: Any) -> Any:
        return read_quickly(cls.value_class, data) or super().parse(data, **context)


class CountQuerySerializer(InferenceQuerySerializer):
    """What to count, as it is asked for a page: order and page are ignored."""

    value_class: ClassVar[type[InferenceQuery]] = CountQuery

    limit = WholeField(min_value=1, max_value=2**31, **optional)
