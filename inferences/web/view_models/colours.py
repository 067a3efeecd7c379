"""The colours of a model's labels, in order of first appearance, the same on every page.

Rows of labels are written when a label first appears and are kept as long as the model, so
a colour changes only when a person chooses another one (``LabelName.hue``). Two labels share a
colour only if a person chose so, or if the model has more labels than there are colours.
"""

from __future__ import annotations

import zlib
from functools import cached_property

from inferences.models import LabelName, RegisteredModel
from inferences.models.metadata_values import in_slot
from istore.db.compiled_queries import CompiledValues, parameter

COLOURS = 48  # the number of classes hue-… in the style sheet
DISTINCT = 20  # of these people choose: the first ones are farthest apart
KNOWN_MAX = 2_000  # labels whose order is read
SET_APART = 12  # the last colours, for labels that no answer has had yet

# Compiled once: every list runs it.
LABELS = CompiledValues(
    lambda: (
        LabelName.objects.filter(registered_model=parameter("model"))
        .order_by("id")
        .values_list("name", "hue")[:KNOWN_MAX]
    )
)


class Colours:
    """The colour of each label of a model, as the number of a CSS class ``hue-…``.

    The order is read by one statement, when the first colour is needed. Several models, whose
    inferences one dataset holds, have their labels one model after the other; a label of more
    than one has the colour of the first.
    """

    def __init__(self, *models: RegisteredModel) -> None:
        self._models = models

    def __call__(self, label: str) -> int:
        return self.of(label)[1]

    def of(self, label: str) -> tuple[int, int]:
        """Return the number of a label within its models, and its colour."""
        name = in_slot(label.encode("utf-8", "replace").decode())
        if (known := self._known.get(name)) is not None:
            return known
        # Ground truth may have labels that no answer has: they get one of the last colours.
        number = zlib.crc32(name.encode())
        return KNOWN_MAX + number, COLOURS - 1 - number % SET_APART

    @property
    def labels(self) -> list[str]:
        """The labels of all answers so far, in order of first appearance."""
        return list(self._known)

    @cached_property
    def _known(self) -> dict[str, tuple[int, int]]:
        known: dict[str, tuple[int, int]] = {}
        for model in self._models:
            for number, (name, hue) in enumerate(LABELS.rows(model=model.pk)):
                own = number % COLOURS if hue is None else hue
                known.setdefault(name, (len(known), own))
        return known


def colours_of(model: RegisteredModel) -> Colours:
    """Return the colours of a model, cached on the model object of a request."""
    known = model.__dict__.get("_colours")
    if known is None:
        known = model.__dict__["_colours"] = Colours(model)
    return known
