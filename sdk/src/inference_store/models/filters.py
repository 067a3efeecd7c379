"""Filters: which inferences a request selects."""

from __future__ import annotations

from pydantic import ConfigDict, Field, field_validator

from inference_store.metadata_text import list_text, text_of_type
from inference_store.models.base import RequestModel, moment_text
from inference_store.models.enums import MetadataFilterOperator, MetadataFilterType


class GeoPoint(RequestModel):
    """A place: latitude and longitude in degrees."""

    model_config = ConfigDict(extra="ignore")  # a response may hold it: lenient

    latitude: float
    longitude: float


class GeoCircle(RequestModel):
    """A circle on the sphere; ``radius`` in metres."""

    center: GeoPoint
    radius: float


class GeoRectangle(RequestModel):
    """A rectangle by two opposite corners, in any order. It spans the shorter way round."""

    p1: GeoPoint
    p2: GeoPoint


class GeolocationFilter(RequestModel):
    """Where the input was taken. If circle and rectangle are given, both must match."""

    gps_coordinates_circle: GeoCircle | None = None
    gps_coordinates_rectangle: GeoRectangle | None = None


class TimeWindowFilter(RequestModel):
    """A time window, ``start <= created_at <= end``: RFC 3339 texts or ``datetime`` values.

    Without ``start`` it begins with the oldest, without ``end`` it ends now. A time without
    an offset is UTC.
    """

    start: str | None = None
    end: str | None = None

    _text = field_validator("start", "end", mode="before")(moment_text)


class MetadataFilter(RequestModel):
    """A comparison with one metadata value.

    ``value`` is a text; for the operator ``in`` it comes from
    ``form_values_for_in_operator``. For the types ``json.…`` the key is a dotted path.
    Example: ``MetadataFilter(key="frame", type="int", operator=">", value="10")``.
    """

    key: str
    operator: MetadataFilterOperator
    type: MetadataFilterType
    value: str = Field(coerce_numbers_to_str=True)

    @staticmethod
    def form_values_for_in_operator(
        values_type: MetadataFilterType,
        values: list[str] | list[int] | list[float],
    ) -> str | None:
        """Return the ``value`` of a filter with the operator ``in``.

        Parameters:
            values_type: the ``type`` of the filter; values are checked against it.
            values: the values that the filter accepts.

        Returns:
            ``"[v1, v2]"``, unquoted, with a backslash before commas, brackets, backslashes
            and outer blanks; None if there are no values.

        Raises:
            ValueError: a value is not of the type.
        """
        kind = MetadataFilterType(values_type).rpartition(".")[2]
        return list_text(text_of_type(value, kind) for value in values)


class DeconstructedInferenceFilter(RequestModel):
    """Matches if one detection has one of the labels and a score within the inclusive limits."""

    labels: list[str] | None = None
    minimum_score: float | None = None
    maximum_score: float | None = None


class BaseInferenceFilter(RequestModel):
    """Filters that must all match; without any, every inference matches."""

    inference_action_filter: str | None = None
    data_hash_filter: str | None = None
    data_source_filter: str | None = None
    time_window_filter: TimeWindowFilter | None = None
    metadata_filter: list[MetadataFilter] | None = None
    location_filter: GeolocationFilter | None = None
    deconstructed_inference_filter: DeconstructedInferenceFilter | None = None
