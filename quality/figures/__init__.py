"""The figures, by scikit-learn and pycocotools: one module for each form of ground truth.

An accumulator takes rows one by one, keeps what the figures need, and returns the figures
at the end. A figure is ``None`` if the rows do not determine it.
"""

from __future__ import annotations

from functools import cache

from quality.figures.base import Accumulator


@cache
def accumulators() -> dict[str, type[Accumulator]]:
    """Return the accumulator classes by form of ground truth (``inferences.ground_truth.truths``).

    They are imported on first use: scikit-learn takes seconds and a hundred megabytes, which
    every process of the store would pay otherwise.
    """
    from quality.figures.classes import Classes
    from quality.figures.entities import Entities
    from quality.figures.numbers import Numbers, Outputs, Steps
    from quality.figures.rankings import Rankings
    from quality.figures.shapes import Boxes, Polygons
    from quality.figures.texts import Texts

    return {
        "labels": Classes,
        "value": Numbers,
        "values": Outputs,
        "series": Steps,
        "boxes": Boxes,
        "polygons": Polygons,
        "entities": Entities,
        "relevance": Rankings,
        "text": Texts,
    }
