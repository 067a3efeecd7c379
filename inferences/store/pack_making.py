"""Make packs of what is stored already: of an older pack, or of objects of their own.

Such a pack is *in the making* from before its put until rows name it. Every byte of it is a copy
of a blob that rows still name elsewhere, so no row names its members, and yet none was lost or
removed: nobody else looks into it (``acknowledged``). Its note is committed before the put, and
the transaction that points the rows at the pack says in the note what the pack replaces. When
that is deleted, the note goes. So each note that a kill leaves tells what is to be deleted: the
pack, or what it replaced with the previews of it.

Packs of one owner, a model or the datasets of a project, are made under one lock. Whoever gets it
knows that no note of the owner belongs to a process that lives, and first tidies up after the
killed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db.models import QuerySet

from inferences.previews import pictures
from istore import blobs
from istore.blobs import packs
from istore.blobs.keys import DATASETS
from istore.blobs.packs import Pack
from istore.db.advisory_lock import AdvisoryLock
from istore.failpoints import failpoint
from istore.models import PackInMaking


def owner_of(pack: str) -> str:
    """Return the prefix of the model, or of the project's datasets, whose pack this is."""
    first, second, _ = pack.split("/", 2)
    return f"{first}/{second}/"


@contextmanager
def making(owner: str, seconds: float = 0.0) -> Iterator[bool]:
    """Hold the lock of an owner's packs; yield False, holding nothing, if it is not free in time.

    What a killed process left is tidied up first.
    """
    with _lock_of(owner).try_hold(seconds) as is_ours:
        if is_ours:
            for note in _below(owner):
                _tidy_up(note)
        yield is_ours


def _lock_of(owner: str) -> AdvisoryLock:
    room = "datasets" if owner.startswith(DATASETS) else "inferences"
    return AdvisoryLock(f"{room}.pack_making", int(owner.split("/")[1]))


def owners_with_notes(below: str) -> set[str]:
    """Return the owners below a prefix of which a pack is, or was, being made."""
    return {owner_of(note.pack_key) for note in _below(below)}


def in_making(below: str) -> set[str]:
    """Return the packs below a prefix that no row names yet, or that were given up."""
    return {
        note.pack_key
        for note in _below(below)
        if note.obsolete is None or note.pack_key in note.obsolete["objects"]
    }


def acknowledged(keys: Iterable[str], below: str) -> list[str]:
    """Return those of the listed packs below a prefix that are not in the making.

    Compare them with rows that are read after this call: if a pack was listed, and is in the
    making no more, its rows name it.
    """
    listed = list(keys)
    hidden = in_making(below) if listed else set()
    return [key for key in listed if key not in hidden]


def put(new: Sequence[Pack]) -> None:
    """Put new packs, in the making. Call it, and what follows, in ``making``."""
    PackInMaking.objects.bulk_create(PackInMaking(pack_key=each.key) for each in new)
    for each in new:
        blobs.put(each.key, each.body)


def take_over(new: Sequence[Pack], old: Iterable[str], pictured: Iterable[str]) -> bool:
    """Say that rows name the packs now, instead of the objects ``old``; False if they must not.

    That is where somebody gave a pack up, or released a member of it. ``pictured`` are the old
    keys of inputs. Call it in the transaction that changes the rows.
    """
    notes = _notes(new)
    if len(notes) != len(new):
        return False
    # One note says it for all of them.
    first, *others = notes
    return (
        _decide(first, old, pictured)
        and all(_decide(each, (), ()) for each in others)
        and not any(packs.has_released(each) for each in new)
    )


def finish(new: Sequence[Pack]) -> None:
    """Delete what the packs replaced; or the packs, if rows were not pointed at them."""
    for note in _notes(new):
        _tidy_up(note)


def _tidy_up(note: PackInMaking) -> None:
    """Delete what a note says, or else the pack, and the note last; a repeat does no harm."""
    _decide(note, [note.pack_key], ())
    note.refresh_from_db()
    obsolete: Any = note.obsolete  # decided now
    blobs.delete(obsolete["objects"])
    failpoint("making.obsolete_deleted")
    # A preview is found by the key of its input: a removal would not find these any more.
    pictures.forget(obsolete["inputs"])
    failpoint("making.previews_forgotten")
    note.delete()


def _decide(note: PackInMaking, objects: Iterable[str], inputs: Iterable[str]) -> bool:
    """Say once what is to be deleted; return False if that was said before."""
    undecided = PackInMaking.objects.filter(pk=note.pk, obsolete__isnull=True)
    obsolete = {"objects": list(objects), "inputs": list(inputs)}
    return undecided.update(obsolete=obsolete) == 1


def _notes(new: Iterable[Pack]) -> list[PackInMaking]:
    keys = [each.key for each in new]
    return list(PackInMaking.objects.filter(pack_key__in=keys).order_by("pk"))


def _below(prefix: str) -> QuerySet[PackInMaking]:
    return PackInMaking.objects.filter(pack_key__startswith=prefix)
