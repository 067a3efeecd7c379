"""Inferences of one model that a person chose in a list, as what an erasure is about.

Unlike a metadata value (``matching_records``), a choice is fixed: it is the rows that were
counted when the erasure was asked for, however many match the same filter later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from inferences.models import InferenceQuerySet, RegisteredModel

SELECTION = "selection"  # the type of such an erasure; its key is the id of the model


@dataclass(frozen=True, slots=True)
class Chosen:
    """Inferences of a model by their row ids."""

    model_id: str
    row_ids: tuple[int, ...]

    @classmethod
    def from_json(cls, model_id: str, stored: str) -> Self:
        """Return the choice that a task keeps as its value."""
        return cls(model_id, tuple(json.loads(stored)))

    @property
    def key(self) -> str:
        """What a task keeps as its key: the model."""
        return self.model_id

    @property
    def type(self) -> str:
        return SELECTION

    @property
    def value(self) -> str:
        """What a task keeps as its value until it ends."""
        return json.dumps(self.row_ids)

    def inferences(self, model: RegisteredModel) -> InferenceQuerySet:
        """Return those that are left, also if they were soft-deleted since."""
        if model.model_id != self.model_id:
            return model.inferences.none()
        return model.inferences.filter(id__in=self.row_ids)
