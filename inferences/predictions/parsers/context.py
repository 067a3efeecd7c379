"""The settings of a model that parsers need, and how single values are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from inferences.predictions.parsers.values import Kind

BOX_ORDERS = ("yxyx", "xyxy", "xywh")
# The columns hold 32-bit floats: PostgreSQL refuses numbers that overflow or underflow them.
LARGEST, SMALLEST = 3.4028234663852886e38, 1.2e-38
NUMBERS = frozenset({float, int})  # compared by type, to exclude the subclass bool
LABEL_CHARS = 10_000  # a longer text is not a label
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """The settings and limits with which a model's answer is parsed.

    ``kind`` is that of the model's own answers; None if the model's task is not known.
    """

    kind: Kind | None = None
    class_labels: Sequence[str] = ()
    box_order: str = "yxyx"
    normalised: bool = False
    embedding_size: int = 0
    max_detections: int = 10_000
    max_embedding: int = 4_000
    first_class_number: int = 0

    @classmethod
    def of(
        cls,
        kind: Kind | None,
        class_labels: Sequence[str],
        box_format: str,
        embedding_size: int,
        max_detections: int,
        max_embedding: int,
        first_class_number: int = 0,
    ) -> Context:
        """Return the context; an unknown box order becomes yxyx."""
        order, _, suffix = (box_format or "").partition("_")
        return cls(
            kind=kind,
            class_labels=class_labels or (),
            box_order=order if order in BOX_ORDERS else "yxyx",
            normalised=suffix in ("normalised", "normalized"),
            embedding_size=embedding_size or 0,
            max_detections=max_detections,
            max_embedding=max_embedding,
            first_class_number=first_class_number,
        )

    @property
    def classifies(self) -> bool:
        """Whether the model answers classes of the whole input."""
        return self.kind is not None and self.kind.is_classes

    @property
    def may_classify(self) -> bool:
        """Whether the model answers classes, or may: its task is not known."""
        return self.kind is None or self.kind.is_classes

    @property
    def only_label(self) -> str | None:
        """The label of an answer without labels: known when the model has only one class."""
        return self.label(self.class_labels[0]) if len(self.class_labels) == 1 else None

    def label(self, value: Any) -> str | None:
        """Return a text as it is, a number as its class, and anything else as None."""
        if isinstance(value, str):
            # Not shortened here: two labels with the same beginning would become one, and a
            # filter would find neither.
            return UNSTORABLE.sub("\ufffd", value) or None
        if isinstance(value, bool):
            return self._boolean(value)
        if (read := number(value)) is None:
            return None
        if not read.is_integer():
            return repr(read)
        place = value if isinstance(value, int) else int(read)  # exact beyond 2^53
        return self._class(place) or str(place)

    def _boolean(self, value: bool) -> str:
        """Return the class that has this word as its name, or 0 or 1 as its number; else the word.

        Ground truth reads booleans the same way.
        """
        word = str(value).lower()
        named = (name for name in self.class_labels if str(name).lower() == word)
        return next(named, None) or self._class(int(value)) or word

    def _class(self, place: int) -> str | None:
        """Return the name of the class with this number, or None."""
        if not self.has_class(place):
            return None
        return self.label(str(self.class_labels[place - self.first_class_number]))

    def has_class(self, place: int) -> bool:
        """Return whether the class labels name the class with this number."""
        return 0 <= place - self.first_class_number < len(self.class_labels)


def number(value: Any) -> float | None:
    """Return the value as a finite float that the columns can hold, or None.

    Numbers that four bytes would underflow become 0.
    """
    if (
        type(value) not in NUMBERS or not -LARGEST <= value <= LARGEST
    ):  # NaN fails as well
        return None
    return 0.0 if -SMALLEST < value < SMALLEST else float(value)


def numbers(value: Any) -> list[float] | None:
    """Return a list of finite floats, or None if a value is not one."""
    if not isinstance(value, list):
        return None
    read = [number(each) for each in value] if len(value) < 16 else _many(value)
    return read if is_complete(read) else None


def is_complete(values: list[T | None]) -> TypeGuard[list[T]]:
    """Return whether none of the values is missing."""
    return None not in values


def _many(value: list[Any]) -> list[float | None]:
    """Return the same as ``number`` for each value, in a fifth of the time for ordinary lists."""
    if set(map(type, value)) != {float}:
        return [number(each) for each in value]
    largest, total = max(map(abs, value)), sum(value)
    smallest = min(map(abs, filter(None, value)), default=0.0)
    ordinary = largest <= LARGEST and smallest >= SMALLEST and total == total
    return value if ordinary else [number(each) for each in value]
