"""The arithmetic, by scikit-learn and pycocotools: one module for each form of truth.

An accumulator is given rows one by one, keeps what the figures need of them, and says the
figures at the end. ``None`` among figures is what the rows do not say.
"""

from __future__ import annotations

from functools import cache

from quality.figures.base import Accumulator


@cache
def accumulators() -> dict[str, type[Accumulator]]:
    """By the form of the truth: see inferences.ground_truth.truths.

    Imported when first measured: scikit-learn takes seconds and a hundred megabytes,
    which every process of the store would pay.
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
