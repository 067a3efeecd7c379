"""What is known of a model when its answer is read, and how single values are read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

BOX_ORDERS = ("yxyx", "xyxy", "xywh")
# The columns hold 32-bit floats: PostgreSQL refuses what overflows or underflows them.
LARGEST, SMALLEST = 3.4028234663852886e38, 1.2e-38
NUMBERS = frozenset({float, int})  # and not their subclass bool
TOO_DEEP = "[nested too deep to be shown]"
LABEL_CHARS = 10_000  # a longer text is no name
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Context:
    task_type: str = ""
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
        task_type: str,
        class_labels: Sequence[str],
        box_format: str,
        embedding_size: int,
        max_detections: int,
        max_embedding: int,
        first_class_number: int = 0,
    ) -> Context:
        order, _, suffix = (box_format or "").partition("_")
        return cls(
            task_type=task_type or "",
            class_labels=class_labels or (),
            box_order=order if order in BOX_ORDERS else "yxyx",
            normalised=suffix in ("normalised", "normalized"),
            embedding_size=embedding_size or 0,
            max_detections=max_detections,
            max_embedding=max_embedding,
            first_class_number=first_class_number,
        )

    def is_task(self, *words: str) -> bool:
        """That the task is one of these. A task nobody named may be any."""
        return not self.task_type or any(word in self.task_type for word in words)

    @property
    def is_one_class(self) -> bool:
        """That the task asks for one class: the others say how sure the model is."""
        return self.task_type.endswith("Classification")

    @property
    def only_label(self) -> str | None:
        """The label of what comes without: clear when there is but one."""
        return self.label(self.class_labels[0]) if len(self.class_labels) == 1 else None

    def label(self, value: Any) -> str | None:
        """A text as it is, a number as the class it stands for."""
        if isinstance(value, str):
            # Whole: cut, two labels with one beginning would be one, and neither found.
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
        """As ground truth reads it: the class that is called so, or has the number."""
        word = str(value).lower()
        named = (name for name in self.class_labels if str(name).lower() == word)
        return next(named, None) or self._class(int(value)) or word

    def _class(self, place: int) -> str | None:
        """The name of the class of this number."""
        if not self.has_class(place):
            return None
        return self.label(str(self.class_labels[place - self.first_class_number]))

    def has_class(self, place: int) -> bool:
        """Whether the list of class labels names the class of this number."""
        return 0 <= place - self.first_class_number < len(self.class_labels)


def number(value: Any) -> float | None:
    """A finite number that the columns can hold, or None."""
    if (
        type(value) not in NUMBERS or not -LARGEST <= value <= LARGEST
    ):  # NaN is not either
        return None
    return 0.0 if -SMALLEST < value < SMALLEST else float(value)


def numbers(value: Any) -> list[float] | None:
    """A list of finite numbers, or None."""
    if not isinstance(value, list):
        return None
    read = [number(each) for each in value] if len(value) < 16 else _many(value)
    return None if None in read else read


def _many(value: list[Any]) -> list[float | None]:
    """The same, in a fifth of the time where nothing is out of the ordinary."""
    if set(map(type, value)) != {float}:
        return [number(each) for each in value]
    largest, total = max(map(abs, value)), sum(value)
    smallest = min(map(abs, filter(None, value)), default=0.0)
    ordinary = largest <= LARGEST and smallest >= SMALLEST and total == total
    return value if ordinary else [number(each) for each in value]


def as_json(value: Any) -> str:
    """The value as a compact JSON text; a sign that it is there where it is nested too deep.

    orjson reads 1,024 levels and writes 254: what was read cannot always be written.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        pass
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return TOO_DEEP


def parse(value: Any) -> Any:
    """What a text holds when that is an object or a list in JSON; else the value."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return orjson.loads(value)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        pass
    # The words that Python's json writes for what is no number; services.v2 reads them,
    # too, and an answer must say the same when its text is read again.
    if "NaN" not in value and "Infinity" not in value:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
