"""Writes ``static/geo/land.svg``: the land of Natural Earth 110m, public domain, outlined.

The shapes lie in the wheel of geopandas 0.14.4, which was the last to carry them:

    pip download --no-deps geopandas==0.14.4
    python scripts/make_land.py geopandas-0.14.4-py3-none-any.whl
"""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

SHAPES = "geopandas/datasets/naturalearth_lowres/naturalearth_lowres.shp"
POLYGON = 5
LAND = Path(__file__).resolve().parent.parent / "static/geo/land.svg"
Ring = list[tuple[float, float]]


def rings(content: bytes) -> Iterator[Ring]:
    """The rings of every polygon; ESRI Shapefile Technical Description, July 1998."""
    place = 100
    while place < len(content):
        (words,) = struct.unpack_from(">i", content, place + 4)
        record = content[place + 8 : place + 8 + 2 * words]
        place += 8 + 2 * words
        kind, _, _, _, _, parts, points = struct.unpack_from("<i4d2i", record)
        if kind != POLYGON:
            continue
        starts = struct.unpack_from(f"<{parts}i", record, 44)
        flat = struct.unpack_from(f"<{2 * points}d", record, 44 + 4 * parts)
        for start, end in zip(starts, (*starts[1:], points), strict=True):
            yield list(
                zip(
                    flat[2 * start : 2 * end : 2],
                    flat[2 * start + 1 : 2 * end : 2],
                    strict=True,
                )
            )


def path(ring: Ring) -> str:
    """In degrees, north up: x is the longitude, y the latitude below zero."""
    return "M" + " ".join(f"{x:.2f} {-y:.2f}" for x, y in ring) + "Z"


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        drawn = "".join(path(ring) for ring in rings(wheel.read(SHAPES)))
    LAND.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-180 -90 360 180">'
        f'<path id="land" d="{drawn}"/></svg>\n'
    )


if __name__ == "__main__":
    main()
