"""The slots of metadata keys, and the numbers of words (labels and sources), per model.

``keys_version`` of a model rises with every new key, so what a process caches under a
version is never stale. Words never change their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import connection, transaction
from django.db.models import F, OuterRef, Q

from inferences.models import (
    SLOTS,
    LabelName,
    MetadataKey,
    MetadataKind,
    OverflowNumber,
    OverflowText,
    RegisteredModel,
    SideRowQuerySet,
    SourceName,
    WordOfModel,
)
from inferences.models.side_rows import HasSideRow
from istore.db.replica import on_primary

SLOT_TYPE = {
    MetadataKind.STRING: "string",
    MetadataKind.INT: "integer",
    MetadataKind.FLOAT: "float",
    MetadataKind.JSON_STRING: "string",
    MetadataKind.JSON_NUMBER: "float",
}
SIDE_ROWS: dict[str, type[OverflowText] | type[OverflowNumber]] = {
    "text": OverflowText,
    "number": OverflowNumber,
}
NOTHING = Q(pk__in=())
WORDS_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class SlotRef:
    """The place of the values of one key and kind: a slot column, or side rows."""

    key_id: int
    kind: str
    slot: str

    @property
    def value_kind(self) -> MetadataKind:
        return MetadataKind(self.kind)

    @property
    def side(self) -> str:
        """The kind of side rows for values without a slot: ``text`` or ``number``."""
        return "text" if SLOT_TYPE[MetadataKind(self.kind)] == "string" else "number"

    def rows(self, model: RegisteredModel | OuterRef) -> SideRowQuerySet[Any]:
        """Return the side rows of a model that hold values of the key."""
        return SIDE_ROWS[self.side].objects.beside(model).filter(key=self.key_id)

    def compared(self, lookup: str, operand: object) -> Q:
        """Return the condition that an inference has such a value.

        It is served by the index of the slot, or by a probe of the side rows.
        """
        return self.holds(lambda column: Q(**{f"{column}__{lookup}": operand}))

    def holds(self, test: Callable[[str], Q]) -> Q:
        """Return the condition that a value passes the test, which is given its column."""
        if self.slot:
            return test(self.slot)
        mine = self.rows(OuterRef("registered_model")).filter(id=OuterRef("id"))
        return Q(HasSideRow(mine.filter(test("value"))))


Key = tuple[str, str]
Places = dict[Key, SlotRef]


@lru_cache(maxsize=1024)
def _places(model_key: int, keys_version: int) -> Places:
    keys = MetadataKey.objects.filter(registered_model=model_key)
    with on_primary():  # a replica may not have this version yet, and it is remembered
        return {
            (key.key, key.kind): SlotRef(key.pk, key.kind, key.slot) for key in keys
        }


def place_of(model: RegisteredModel, key: str, kind: str) -> SlotRef | None:
    """Return the place of a key and kind, or None if the model has no such key."""
    return _places(model.pk, model.keys_version).get((key, kind))


# Of a key with values of several types, the first of these is what people sort and group by.
BY_USE = (
    MetadataKind.INT,
    MetadataKind.FLOAT,
    MetadataKind.JSON_NUMBER,
    MetadataKind.STRING,
    MetadataKind.JSON_STRING,
)


def usual_place(model: RegisteredModel, key: str) -> SlotRef | None:
    """Return the place of a key in its most useful kind, one with a slot before others."""
    known = _places(model.pk, model.keys_version)
    found = [known[key, kind] for kind in BY_USE if (key, kind) in known]
    return next((each for each in found if each.slot), found[0] if found else None)


def slot_of(model: RegisteredModel, key: str) -> SlotRef | None:
    """Return the place of a key that has a slot, by which rows can be sorted, or None."""
    place = usual_place(model, key)
    return place if place and place.slot else None


def places_under(model: RegisteredModel, key: str) -> list[SlotRef]:
    """Return every place where values of this key may lie, of any type and at any leaf."""
    known = _places(model.pk, model.keys_version)
    leaves = (MetadataKind.JSON_STRING, MetadataKind.JSON_NUMBER)
    return [
        place
        for (name, kind), place in known.items()
        if name == key or (kind in leaves and name.startswith(f"{key}."))
    ]


def places_for(model: RegisteredModel, keys: Iterable[Key]) -> Places:
    """Return the places of these keys; a new key is given one."""
    if missing := set(keys) - _places(model.pk, model.keys_version).keys():
        _add(model, sorted(missing))
    return _places(model.pk, model.keys_version)


@transaction.atomic(durable=True)
def _add(model: RegisteredModel, keys: list[Key]) -> None:
    # The lock keeps two writers from taking the same slot. The transaction is durable: a
    # version that was rolled back would be used again with other keys, and caches under it
    # would be wrong.
    locked = RegisteredModel.objects.select_for_update().get(pk=model.pk)
    taken = {(key.key, key.kind): key.slot for key in locked.metadata_keys.all()}
    new = []
    for key, kind in keys:
        if (key, kind) not in taken:
            free = (s for s in SLOTS[SLOT_TYPE[MetadataKind(kind)]])
            slot = next((s for s in free if s not in taken.values()), "")
            taken[key, kind] = slot
            new.append(
                MetadataKey(registered_model=locked, key=key, kind=kind, slot=slot)
            )
    MetadataKey.objects.bulk_create(new, batch_size=1000)
    locked.keys_version = F("keys_version") + 1
    locked.save(update_fields=["keys_version"])
    model.refresh_from_db(fields=["keys_version"])


class Interner:
    """A cache of the numbers of words in this process; only committed numbers are kept."""

    def __init__(self, table: type[WordOfModel]) -> None:
        self.table = table
        self.known: dict[tuple[int, str], int] = {}

    def number(self, model: RegisteredModel, name: str) -> int | None:
        """Return the number of a word, or None if the model does not have it."""
        return self._numbers(model, {name}).get(name)

    def numbers_for(
        self, model: RegisteredModel, names: Iterable[str]
    ) -> dict[str, int]:
        """Return the numbers of these words; a new word is given one."""
        wanted = set(names)
        found = self._numbers(model, wanted)
        if missing := sorted(wanted - found.keys()):
            rows = [self.table(registered_model=model, name=name) for name in missing]
            words = self.table._default_manager
            words.bulk_create(rows, ignore_conflicts=True, batch_size=1000)
            found |= self._read(model, missing)
        return found

    def _numbers(self, model: RegisteredModel, names: set[str]) -> dict[str, int]:
        known = {
            n: self.known[model.pk, n] for n in names if (model.pk, n) in self.known
        }
        missing = names - known.keys()
        return known | self._read(model, missing) if missing else known

    def _read(self, model: RegisteredModel, names: Iterable[str]) -> dict[str, int]:
        with connection.cursor() as cursor:
            # A fenced probe for each word, as in lookup.py: a model may have very many words.
            cursor.execute(
                "SELECT given, word.id FROM unnest(%s::text[]) AS given "
                f"CROSS JOIN LATERAL (SELECT id FROM {self.table._meta.db_table} "
                "WHERE model_key = %s AND name = given OFFSET 0) AS word",
                [list(names), model.pk],
            )
            found = dict(cursor.fetchall())
        if len(self.known) > WORDS_REMEMBERED:
            self.known.clear()
        remembered = {(model.pk, name): number for name, number in found.items()}
        # A number of a transaction that is rolled back must not be remembered.
        transaction.on_commit(lambda: self.known.update(remembered))
        return found


labels = Interner(LabelName)
sources = Interner(SourceName)


def are_known(
    model: RegisteredModel,
    keys: Set[Key],
    label_names: Set[str],
    source_names: Set[str],
) -> bool:
    """Return whether the model has all these keys, and this process remembers these words."""
    return (
        keys <= _places(model.pk, model.keys_version).keys()
        and all((model.pk, name) in labels.known for name in label_names)
        and all((model.pk, name) in sources.known for name in source_names)
    )
