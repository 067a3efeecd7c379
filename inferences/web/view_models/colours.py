"""The colours of a model's labels, in order of first appearance, the same on every page.

Rows of labels are written when a label first appears and are kept as long as the model, so
a colour never changes. Two labels share a colour only if the model has more labels than
there are colours.
"""

from __future__ import annotations

import zlib
from functools import cached_property

from inferences.models import LabelName, RegisteredModel
from inferences.models.metadata_values import in_slot

COLOURS = 48  # the number of classes hue-… in the style sheet
KNOWN_MAX = 2_000  # labels whose order is read
SET_APART = 12  # the last colours, for labels that no answer has had yet


class Colours:
    """The colour of each label of a model, as the number of a CSS class ``hue-…``.

    The order is read by one statement, when the first colour is needed.
    """

    def __init__(self, model: RegisteredModel) -> None:
        self._model = model

    def __call__(self, label: str) -> int:
        name = in_slot(label.encode("utf-8", "replace").decode())
        if (place := self._places.get(name)) is not None:
            return place % COLOURS
        # Ground truth may have labels that no answer has: they get one of the last colours.
        return COLOURS - 1 - zlib.crc32(name.encode()) % SET_APART

    @property
    def labels(self) -> list[str]:
        """The labels of all answers so far, in order of first appearance."""
        return list(self._places)

    @cached_property
    def _places(self) -> dict[str, int]:
        found = LabelName.objects.filter(registered_model=self._model).order_by("id")
        names = found.values_list("name", flat=True)[:KNOWN_MAX]
        return {name: place for place, name in enumerate(names)}


def colours_of(model: RegisteredModel) -> Colours:
    """Return the colours of a model, cached on the model object of a request."""
    known = model.__dict__.get("_colours")
    if known is None:
        known = model.__dict__["_colours"] = Colours(model)
    return known
