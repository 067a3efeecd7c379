"""Filters on the place of an inference: ``near:`` a point and ``within:`` a rectangle."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from inferences.models import RegisteredModel
from inferences.models.metadata_values import REAL, read_float
from inferences.search.access_paths import (
    TABLE,
    AccessPath,
    IndexScan,
    Sql,
    path_by_column,
    paths_of_all,
)
from inferences.search.filters.kind import Kind, Parameter, Reading, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.scanning import Scanner
from inferences.search.filters.words import number
from inferences.store import geo_cells

EARTH_RADIUS = 6_371_008.8  # metres, the mean radius of the contract's sphere

METRES = {"": 1, "m": 1, "km": 1000}
RADIUS = re.compile(rf"(?P<number>{REAL.pattern})\s*(?P<unit>m|km)?")
BRACKETED = re.compile(r"\s*\(([^()]*)\)")

# PostgreSQL raises an underflow error when a result rounds to zero, so the squares of
# angles are kept above it.
LEAST_DEGREES, SQUARE_OF_LEAST = 1e-120, 2e-244


@dataclass(frozen=True, slots=True)
class GeoPoint:
    """A point on the globe; latitude and longitude in degrees."""

    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        if not -90 <= self.latitude <= 90:
            raise ValueError(f"latitude: {self.latitude} is not within [-90, 90].")
        if not -180 <= self.longitude <= 180:
            raise ValueError(f"longitude: {self.longitude} is not within [-180, 180].")


@dataclass(frozen=True, slots=True)
class GeoCircle:
    """All points within a great-circle distance of a centre; the radius is in metres."""

    center: GeoPoint
    radius: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.radius) and self.radius >= 0):
            raise ValueError("radius: a distance is a number of metres, not below 0.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by the area index: cells of the bounding box, then exactly.

        The exact test is the haversine formula, with sin² of half the angle compared, so that
        no precision is lost near zero (R. W. Sinnott, Virtues of the Haversine, 1984).
        """
        angle = self.radius / EARTH_RADIUS
        if angle >= math.pi:  # all of the globe
            return Q(area_cell__isnull=False)
        latitude = math.radians(self.center.latitude)
        sql = (
            f"power(sin(radians({_apart('latitude - %s')}) / 2), 2) + "
            f"%s * cos(radians({_apart('latitude')})) * "
            f"power(sin(radians({_apart('longitude - %s')}) / 2), 2) <= %s"
        )
        values = [
            self.center.latitude,
            math.cos(latitude),
            self.center.longitude,
            max(math.sin(angle / 2) ** 2, SQUARE_OF_LEAST),
        ]
        exact = Q(RawSQL(sql, values, output_field=BooleanField()))
        return _in_cells(self._boxes(angle)) & exact

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        angle = self.radius / EARTH_RADIUS
        if angle >= math.pi:
            everywhere = Q(area_cell__isnull=False)
            return [path_by_column(model, "area_cell", everywhere)]
        return [_path_by_cells(model, self._boxes(angle))]

    def _boxes(self, angle: float) -> list[geo_cells.Box]:
        """Return boxes of degrees that together contain the circle."""
        latitude = math.radians(self.center.latitude)
        # Slightly wider than the circle, against rounding; the exact test decides.
        reach = math.degrees(angle) * (1 + 1e-9) + 1e-9
        south, north = self.center.latitude - reach, self.center.latitude + reach
        if south <= -90 or north >= 90:  # the circle contains a pole: all longitudes
            return [geo_cells.Box(max(south, -90), -180, min(north, 90), 180)]
        across = math.degrees(math.asin(min(1, math.sin(angle) / math.cos(latitude))))
        across = across * (1 + 1e-9) + 1e-9
        west = self.center.longitude - across
        return geo_cells.around(south, west, north, self.center.longitude + across)

    def __str__(self) -> str:
        at = f"{self.center.latitude:g}, {self.center.longitude:g}"
        return f"within {self.radius:g} m of {at}"


@dataclass(frozen=True, slots=True)
class GeoRectangle:
    """All points between two opposite corners, edges included.

    Of the two ways around the globe between the longitudes, the shorter one counts.
    """

    p1: GeoPoint
    p2: GeoPoint

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by the area index; across the antimeridian there are two boxes."""
        boxes = self.boxes()
        within = [
            Q(
                latitude__range=(box.south, box.north),
                longitude__range=(box.west, box.east),
            )
            for box in boxes
        ]
        return _in_cells(boxes) & reduce(or_, within)

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return [_path_by_cells(model, self.boxes())]

    def boxes(self) -> list[geo_cells.Box]:
        """Return the rectangle as boxes that do not cross the antimeridian."""
        south, north = sorted((self.p1.latitude, self.p2.latitude))
        west, east = sorted((self.p1.longitude, self.p2.longitude))
        if Fraction(east) - Fraction(west) <= 180:
            found = [geo_cells.Box(south, west, north, east)]
            # -180 and 180 degrees are the same meridian.
            if west == -180:
                found.append(geo_cells.Box(south, 180, north, 180))
            if east == 180:
                found.append(geo_cells.Box(south, -180, north, -180))
            return found
        return [
            geo_cells.Box(south, east, north, 180),
            geo_cells.Box(south, -180, north, west),
        ]

    def __str__(self) -> str:
        return "between {:g}, {:g} and {:g}, {:g}".format(*self.corners)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Return the latitude and longitude of both corners."""
        p1, p2 = self.p1, self.p2
        return p1.latitude, p1.longitude, p2.latitude, p2.longitude


def _apart(degrees: str) -> str:
    """Return the SQL of an absolute difference, kept so large that its square is not zero."""
    return f"greatest(abs({degrees}), {LEAST_DEGREES}::float8)"


def _in_cells(boxes: list[geo_cells.Box]) -> Q:
    """Return the test that a row's area cell lies in one of the boxes; the area index serves it."""
    ranges = [each for box in boxes for each in geo_cells.ranges(box)]
    return reduce(
        or_, [Q(area_cell__gte=low, area_cell__lt=high) for low, high in ranges]
    )


def _path_by_cells(model: RegisteredModel, boxes: list[geo_cells.Box]) -> AccessPath:
    """Return the path to the rows in the boxes by the area index.

    Several ranges of cells are joined as a VALUES list, which is planned once. For an OR of
    many ranges PostgreSQL would try every index for each range.
    """
    path = path_by_column(model, "area_cell", _in_cells(boxes))
    spans = _spans([each for box in boxes for each in geo_cells.ranges(box)])
    if len(spans) < 2:
        return path
    listed = ", ".join(f"({low}::bigint, {high}::bigint)" for low, high in spans)
    beside = f"(VALUES {listed}) AS spans (low, high) CROSS JOIN "
    cell = f"{TABLE}.area_cell"
    test = path.start & Sql(f"{cell} >= spans.low AND {cell} < spans.high")
    return replace(path, branches=(IndexScan(TABLE, test, beside=beside),))


def _spans(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges ``[low, high)`` with those joined that overlap or touch."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1]:
            low, high = joined[-1][0], max(high, joined.pop()[1])
        joined.append((low, high))
    return joined


@dataclass(frozen=True, slots=True)
class LocationFilter(Leaf):
    """A circle, a rectangle, or the intersection of both."""

    circle: GeoCircle | None = None
    rectangle: GeoRectangle | None = None

    def condition(self, model: RegisteredModel) -> Q:
        found = Q()
        for shape in (self.circle, self.rectangle):
            if shape:
                found &= shape.condition(model)
        return found

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        shapes = (self.circle, self.rectangle)
        return paths_of_all(shape.access_paths(model) for shape in shapes if shape)

    def leaves(self) -> Iterator[LocationFilter]:
        """Yield the circle and the rectangle as filters of their own."""
        if self.circle:
            yield LocationFilter(self.circle)
        if self.rectangle:
            yield LocationFilter(None, self.rectangle)

    def __str__(self) -> str:
        return " and ".join(str(s) for s in (self.circle, self.rectangle) if s)

    def terms(self) -> Iterator[str]:
        return (f"{name}:({text})" for name, text in self._parts())

    def parameters(self) -> dict[str, list[str]]:
        return {name: [text] for name, text in self._parts()}

    def _parts(self) -> Iterator[tuple[str, str]]:
        if self.circle:
            yield "near", write_circle(self.circle)
        if self.rectangle:
            yield "within", ",".join(map(number, self.rectangle.corners))


def circle_in(text: str) -> GeoCircle:
    """Parse ``latitude,longitude,radius``: degrees, and metres or a number with ``m`` or ``km``.

    Raises ValueError.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3:
        raise ValueError("It is latitude, longitude, radius, such as 51.95,4.14,5km.")
    center = GeoPoint(read_float(parts[0]), read_float(parts[1]))
    found = RADIUS.fullmatch(parts[2])
    if not found:
        raise ValueError(f"{parts[2]!r} is not a distance such as 500m or 5km.")
    try:
        metres = float(Decimal(found["number"]) * METRES[found["unit"] or ""])
    except (InvalidOperation, OverflowError):
        raise ValueError(f"{parts[2]!r} is out of range.") from None
    return GeoCircle(center, metres)


def write_circle(circle: GeoCircle) -> str:
    """Return the text that ``circle_in`` reads as the circle."""
    center, radius = circle.center, circle.radius
    in_km = radius >= 1000 and radius % 1000 == 0 and radius < 1e12
    away = f"{round(radius / 1000)}km" if in_km else f"{number(radius)}m"
    return f"{number(center.latitude)},{number(center.longitude)},{away}"


def _rectangle_in(text: str, wrong: str) -> GeoRectangle:
    """Parse the latitude and longitude of two opposite corners. Raises ValueError."""
    degrees = [read_float(part) for part in text.split(",")]
    if len(degrees) != 4:
        raise ValueError(wrong)
    return GeoRectangle(GeoPoint(*degrees[:2]), GeoPoint(*degrees[2:]))


def _rectangle_of_url(text: str) -> GeoRectangle:
    wrong = "Two corners, as 51.9,4.1,52.0,4.2."
    try:
        return _rectangle_in(text, wrong)
    except ValueError as error:
        is_place = "latitude" in str(error) or "longitude" in str(error)
        raise ValueError(str(error) if is_place else wrong) from None


def _bracketed(scanner: Scanner) -> str:
    found = scanner.take(BRACKETED)
    if not found:
        raise scanner.error("Numbers in parentheses are missing here.")
    return found[1]


def _near(reading: Reading) -> LocationFilter:
    return LocationFilter(circle_in(_bracketed(reading.scanner)))


def _within(reading: Reading) -> LocationFilter:
    wrong = "Two corners, such as within:(51.9,4.1,52.0,4.2)."
    return LocationFilter(None, _rectangle_in(_bracketed(reading.scanner), wrong))


def _build(given: Mapping[str, Any]) -> dict[str, Any]:
    shapes = given["near"], given["within"]
    return {"location": LocationFilter(*shapes)} if any(shapes) else {}


KIND = Kind(
    terms=(
        Term("near:", _near, ("near:(",)),
        Term("within:", _within, ("within:(",)),
    ),
    parameters=(
        Parameter("near", "Near", "near", circle_in, placeholder="51.95,4.14,5km"),
        Parameter(
            "within",
            "Within",
            "within",
            _rectangle_of_url,
            placeholder="51.9,4.1,52.0,4.2",
        ),
    ),
    build=_build,
)
