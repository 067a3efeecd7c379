"""Filters for what an inference has, ``has:`` and ``no:``, and what it is, ``is:``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import OuterRef, Q

from inferences.models import (
    InferencePayload,
    MetadataKeyCount,
    MetadataType,
    RegisteredModel,
    SideRowQuerySet,
)
from inferences.models.side_rows import HasSideRow
from inferences.search.access_paths import (
    NO_ROWS,
    AccessPath,
    path_by_side_rows,
    paths_of_any,
)
from inferences.search.filters import recheck
from inferences.search.filters.kind import Kind, Parameter, Reading, Term
from inferences.search.filters.leaf import Filter, Leaf
from inferences.search.filters.metadata import (
    KINDS,
    META,
    is_in_array,
    read_key,
    read_type,
    write_key,
)
from inferences.search.filters.tree import Not
from inferences.search.filters.value_tests import (
    IS_THERE,
    ValueTest,
    access_paths_of,
    condition_of,
)
from inferences.store.metadata_slots import NOTHING, place_of
from inferences.store.notes import NOT_UNDERSTOOD, WARNINGS

PLAIN = ("string", "int", "float")
TYPES = (*PLAIN, "json", "json.string", "json.int", "json.float")


@dataclass(frozen=True, slots=True)
class HasKey(Leaf):
    """The inference has the key, with a value of the type or of any type.

    For ``json.*`` types the key is a path, as in comparisons. Without a type it is the name
    of a metadata key.
    """

    key: str
    type: str | None = None

    def __post_init__(self) -> None:
        if self.type is not None and self.type not in TYPES:
            raise ValueError(f"{self.type!r} is not one of {', '.join(TYPES)}.")
        if not self.key:
            raise ValueError("A key has at least one character.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by the indexes of the key's slots.

        JSON may have no leaf in a slot, so it is tested in the payloads, if the model ever
        had the key with JSON.
        """
        if self.type is None:
            return reduce(or_, [each.condition(model) for each in self._typed()])
        if self.type == "json":
            known = self._was_json(model)
            return recheck.of_type("json", self.key) if known else NOTHING
        path = self.key.split(".")
        if is_in_array(self.type, path):
            return recheck.leaf(path, self.type)
        return condition_of(self._tests(model, self.type))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the path by the slots of the key, unless payloads must be read."""
        if self.type is None:
            return paths_of_any(each.access_paths(model) for each in self._typed())
        if self.type == "json":
            return [] if self._was_json(model) else [NO_ROWS]
        if is_in_array(self.type, self.key.split(".")):
            return []
        return access_paths_of(model, self._tests(model, self.type))

    def _typed(self) -> list[HasKey]:
        return [HasKey(self.key, type_) for type_ in (*PLAIN, "json")]

    def _was_json(self, model: RegisteredModel) -> bool:
        counts = MetadataKeyCount.objects.filter(registered_model=model)
        return counts.filter(key=self.key, type=MetadataType.JSON).exists()

    def _tests(self, model: RegisteredModel, type_: str) -> list[ValueTest]:
        place = place_of(model, self.key, KINDS[type_])
        whole = type_ == "json.int"
        return [ValueTest(place, IS_THERE, whole=whole)] if place else []

    def __str__(self) -> str:
        return f"has {self.key}" + (f" ({self.type})" if self.type else "")

    def terms(self) -> Iterator[str]:
        yield f"has:{write_key(self.key)}" + (f":{self.type}" if self.type else "")


@dataclass(frozen=True, slots=True)
class HasInput(Leaf):
    """The input is still in blob storage."""

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test that looks up the payload by its primary key."""
        rows = InferencePayload.objects.beside(model)
        return Q(
            HasSideRow(rows.filter(id=OuterRef("id")).exclude(data_storage_key=""))
        )

    def __str__(self) -> str:
        return "has its input"


@dataclass(frozen=True, slots=True)
class HasWarnings(Leaf):
    """The store noted that something about the record is wrong.

    Examples are a truncated answer, an error inside a stream, and metadata that was set
    aside. They are in ``notes["warnings"]``, which exists only when there are some.
    """

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by payload_with_warnings, a partial index in id order."""
        rows = _noted(WARNINGS, model)
        return Q(HasSideRow(rows.filter(id=OuterRef("id"))))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        rows = _noted(WARNINGS, model)
        return [path_by_side_rows(rows, in_order=True, is_exact=True)]

    def __str__(self) -> str:
        return "has warnings"


@dataclass(frozen=True, slots=True)
class IsNotUnderstood(Leaf):
    """The answer has none of the forms that are known for the model's task."""

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test on rows with warnings, whose index serves it: all of these have one."""
        rows = _noted(NOT_UNDERSTOOD, model)
        mine = rows.filter(id=OuterRef("id"))
        return HasWarnings().condition(model) & Q(HasSideRow(mine))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return [path_by_side_rows(_noted(WARNINGS, model), in_order=True)]

    def __str__(self) -> str:
        return "not understood"


@dataclass(frozen=True, slots=True)
class IsProtected(Leaf):
    """The inference is protected from retention."""

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test that no index serves: it walks the rows that other filters leave."""
        return Q(is_protected=True)

    def __str__(self) -> str:
        return "protected"


def _noted(note: str, model: RegisteredModel) -> SideRowQuerySet[InferencePayload]:
    """Return the payloads of a model that have the note."""
    return InferencePayload.objects.beside(model).filter(notes__has_key=note)


def _has(reading: Reading) -> Filter:
    scanner = reading.scanner
    scanner.skip_blanks()
    is_named = scanner.text.startswith('"', scanner.position)
    is_named = is_named or bool(scanner.take(META))
    key, type_ = read_key(scanner), read_type(scanner)
    word = None if is_named or type_ else reading.words.get(key)
    return word or HasKey(key, type_)


def _no(reading: Reading) -> Filter:
    known = ", ".join(f"no:{word}" for word in reading.words)
    return reading.word(f"It is one of {known}.")


def _is(reading: Reading) -> Filter:
    known = " or ".join(f"is:{word}" for word in reading.words)
    return reading.word(f"It is {known}.")


KIND = Kind(
    terms=(Term("has:", _has), Term("no:", _no), Term("is:", _is)),
    words={
        "has:input": HasInput(),
        "no:input": Not(HasInput()),
        "has:warnings": HasWarnings(),
        "no:warnings": Not(HasWarnings()),
        "is:protected": IsProtected(),
        "is:not-understood": IsNotUnderstood(),
    },
    parameters=(
        Parameter(
            "warnings",
            "Warnings",
            "warnings",
            # Programs send true and false; the pages send yes and no.
            choices={
                "yes": HasWarnings(),
                "no": Not(HasWarnings()),
                "true": HasWarnings(),
                "false": Not(HasWarnings()),
                "not-understood": IsNotUnderstood(),
            },
            titles={
                "yes": "with warnings",
                "not-understood": "not understood",
                "no": "without warnings",
            },
        ),
    ),
)
