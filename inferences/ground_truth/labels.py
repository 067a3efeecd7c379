"""Map labels as files write them to the labels that a model answers.

A class may be written as a number. pandas makes it a decimal number if its column has a gap,
and Parquet has whole and decimal numbers and booleans. The model decides which label is
meant: its list of classes, by name and then by number, and the labels that it has answered.
If neither knows the label, it is the text of the whole number. One letter may be written by
several code points; the model's own spelling is used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from inferences.models import LabelName, RegisteredModel

WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?P<rest>\.0*)?")
# The words that spreadsheets and pandas write for a gap.
MISSING = frozenset(
    ["NaN", "nan", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaT", "None", "null", "NULL"]
)
BOOLEANS = {
    True: ("true", "True", "TRUE", "1", "1.0"),
    False: ("false", "False", "FALSE", "0", "0.0"),
}
# Labels that have more than one spelling: numbers, non-ASCII, gap words, booleans.
OTHERWISE = rf"^-?[0-9]+\.?0*$|[^\x01-\x7f]|^({'|'.join(sorted(MISSING))})$|^([Tt]rue|TRUE|[Ff]alse|FALSE)$"
MAY_DIFFER = re.compile(OTHERWISE).search
KNOWN_MOST = 100_000
LABELLED = ("boxes", "polygons", "entities")


def comparable(label: str) -> str:
    """Return the label in the form for comparison: NFC, and a whole number without a point."""
    found = WHOLE.fullmatch(label)
    if found and found["rest"]:
        return label.partition(".")[0]
    return label if label.isascii() else unicodedata.normalize("NFC", label)


@dataclass(slots=True)
class Labels:
    """The labels that a model knows; if it knows none, numbers become labels by their text."""

    classes: Sequence[str] = ()
    first: int = 0
    model: RegisteredModel | None = None
    names: dict[str, str] = field(init=False)
    _answered: dict[str, str] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        # Reversed, so that of two classes with the same name the first wins.
        classes = reversed(self.classes)
        self.names = {unicodedata.normalize("NFC", name): name for name in classes}

    @classmethod
    def of(cls, model: RegisteredModel) -> Self:
        """Return the labels of a model, with the classes that it is registered with."""
        return cls(model.class_labels, model.first_class_number, model)

    @property
    def answered(self) -> dict[str, str]:
        """Return the answered labels that have several spellings; loaded when first needed."""
        return self.load() if self._answered is None else self._answered

    def load(self) -> dict[str, str]:
        """Load the answered labels now, for a caller whose connection will be busy later."""
        names = LabelName.objects.filter(
            registered_model=self.model, name__regex=OTHERWISE
        )
        found = names.order_by("-pk").values_list("name", flat=True)
        known = found[:KNOWN_MOST] if self.model else ()
        # Newest first, so that of two spellings of a label the older one wins.
        self._answered = {unicodedata.normalize("NFC", name): name for name in known}
        return self._answered

    def knows(self, text: str) -> bool:
        """Return whether the model has this label."""
        return self._known([text]) is not None

    def read(self, value: Any, *, is_typed: bool = True) -> Any:
        """Return the label that a value means; a value that is no label is returned to be refused.

        With ``is_typed`` a text was written as a text: ``"1.0"`` stays so if the model does
        not know it.
        """
        if isinstance(value, bool):
            return self._boolean(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e18:
            value = int(value)
        if isinstance(value, int | float):
            return self._text(repr(value), is_typed=False)
        return self._text(value, is_typed) if isinstance(value, str) else value

    def _text(self, text: str, is_typed: bool) -> str:
        found = WHOLE.fullmatch(text)
        if not found:
            if (
                not is_typed
                and text.lower() in ("true", "false")
                and not self.knows(text)
            ):
                return self._boolean(text.lower() == "true", text)
            return self._known([text]) or text
        number = int(text.partition(".")[0])
        known = self._known([text, str(number), f"{number}.0"], number)
        return known or (text if is_typed else str(number))

    def _boolean(self, value: bool, text: str | None = None) -> str:
        ways = BOOLEANS[value]
        return self._known(ways, int(value)) or text or ways[0]

    def _known(self, ways: Sequence[str], number: int | None = None) -> str | None:
        """Return the model's label for one of these spellings or the class number, or None."""
        composed = [unicodedata.normalize("NFC", way) for way in ways]
        if self.classes:
            for each in composed:
                if each in self.names:
                    return self.names[each]
            if number is not None and 0 <= number - self.first < len(self.classes):
                return self.classes[number - self.first]
        if not any(map(MAY_DIFFER, composed)):
            return None
        return next((self.answered[c] for c in composed if c in self.answered), None)

    def in_truth(self, form: str, value: Any, *, is_typed: bool = True) -> Any:
        """Return the ground truth of a form with the model's labels in it."""
        if not isinstance(value, list):
            return value
        if form == "labels":
            return [self.read(each, is_typed=is_typed) for each in value]
        if form in LABELLED:
            return [
                {**each, "label": self.read(each["label"], is_typed=is_typed)}
                if isinstance(each, Mapping) and "label" in each
                else each
                for each in value
            ]
        return value
