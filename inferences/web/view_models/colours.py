"""The colour of each label of a model: by order of first appearance, the same on every page.

The rows of labels are written when the store first meets them and stay as long as their
model, so a colour never moves. Two labels share one only where a model has more labels
than there are colours.
"""

from __future__ import annotations

import zlib
from functools import cached_property

from inferences.models import LabelName, RegisteredModel
from inferences.models.metadata_values import in_slot

COLOURS = 48  # of the style sheet
KNOWN_MAX = 2_000  # labels whose order is read
SET_APART = 12  # the last colours, for labels that no answer has said yet


class Colours:
    """Which colour each label of a model has, as the number of a class ``hue-…``.

    The order is read by one statement, when the first label is asked for.
    """

    def __init__(self, model: RegisteredModel) -> None:
        self._model = model

    def __call__(self, label: str) -> int:
        name = in_slot(label.encode("utf-8", "replace").decode())
        if (place := self._places.get(name)) is not None:
            return place % COLOURS
        # Ground truth may name what the model never has: a colour from the other end.
        return COLOURS - 1 - zlib.crc32(name.encode()) % SET_APART

    @property
    def labels(self) -> list[str]:
        """What the model has answered so far, in the order of first appearance."""
        return list(self._places)

    @cached_property
    def _places(self) -> dict[str, int]:
        found = LabelName.objects.filter(registered_model=self._model).order_by("id")
        names = found.values_list("name", flat=True)[:KNOWN_MAX]
        return {name: place for place, name in enumerate(names)}


def colours_of(model: RegisteredModel) -> Colours:
    """The colours of a model, read once for each request that has the model."""
    known = model.__dict__.get("_colours")
    if known is None:
        known = model.__dict__["_colours"] = Colours(model)
    return known
