"""Filters: which inferences are meant."""

from __future__ import annotations

from pydantic import ConfigDict, Field, field_validator

from inference_store.metadata_text import list_text, text_of_type
from inference_store.models.base import RequestModel, moment_text
from inference_store.models.enums import MetadataFilterOperator, MetadataFilterType


class GeoPoint(RequestModel):
    """A place in degrees."""

    model_config = ConfigDict(extra="ignore")  # answers hold it too

    latitude: float
    longitude: float


class GeoCircle(RequestModel):
    """A circle on the sphere; ``radius`` in metres."""

    center: GeoPoint
    radius: float


class GeoRectangle(RequestModel):
    """Two opposite corners, in any order. It spans the shorter way round."""

    p1: GeoPoint
    p2: GeoPoint


class GeolocationFilter(RequestModel):
    """Where the input was taken. Given both, both must hold."""

    gps_coordinates_circle: GeoCircle | None = None
    gps_coordinates_rectangle: GeoRectangle | None = None


class TimeWindowFilter(RequestModel):
    """``start <= created_at <= end``: texts in RFC 3339, or ``datetime`` values.

    Without ``start`` from the beginning, without ``end`` until now. A time without an
    offset is UTC.
    """

    start: str | None = None
    end: str | None = None

    _text = field_validator("start", "end", mode="before")(moment_text)


class MetadataFilter(RequestModel):
    """A comparison with one metadata value.

    ``value`` is text; for ``in`` what ``form_values_for_in_operator`` makes.
    For the types ``json.…`` the key is a dotted path.
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
        """The ``value`` of a filter with the operator ``in``.

        Parameters:
            values_type: the ``type`` of the filter; numbers are checked against it.
            values: what the metadata may be.

        Returns:
            ``"[v1, v2]"``, unquoted, commas, brackets, backslashes and outer blanks
            escaped by a backslash; None if there are no values.

        Raises:
            ValueError: a value is none of the type.
        """
        kind = MetadataFilterType(values_type).rpartition(".")[2]
        return list_text(text_of_type(each, kind) for each in values)


class DeconstructedInferenceFilter(RequestModel):
    """One detection has one of the labels and a score within the limits, inclusive."""

    labels: list[str] | None = None
    minimum_score: float | None = None
    maximum_score: float | None = None


class BaseInferenceFilter(RequestModel):
    """The intersection of everything given; nothing given is every inference."""

    inference_action_filter: str | None = None
    data_hash_filter: str | None = None
    data_source_filter: str | None = None
    time_window_filter: TimeWindowFilter | None = None
    metadata_filter: list[MetadataFilter] | None = None
    location_filter: GeolocationFilter | None = None
    deconstructed_inference_filter: DeconstructedInferenceFilter | None = None
