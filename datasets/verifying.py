"""Checks of ``manage.py verify``: every input of a dataset exists, and nothing else is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache

from datasets.models import DatasetBlob
from inferences.store import pack_making
from istore import blobs
from istore.blobs import packs
from istore.blobs.keys import DATASETS, prefix_of_datasets
from istore.checks.verification import Finding, Scope

PACKS_KEPT = (
    16  # whose indexes are remembered: rows are read in the order they were packed
)
CHUNK = 1024**2


def check_inputs(scope: Scope) -> Iterator[Finding]:
    """Yield inputs that are missing or changed. They are reported only: nothing restores them.

    Of a pack the index is read once, whatever the number of its inputs.
    """
    rows = DatasetBlob.objects.filter(removal_at=None)
    if scope.project:
        rows = rows.filter(project=scope.project)
    sizes = lru_cache(PACKS_KEPT)(_sizes)
    for blob in rows.order_by("pk").iterator(1000):
        why = _trouble(blob, sizes, deep=scope.deep)
        # It may have been removed, or moved into another pack, since it was read.
        same = rows.filter(pk=blob.pk, storage_key=blob.storage_key)
        if why and same.exists():
            yield Finding("dataset-input", blob.storage_key, why)


def _trouble(
    blob: DatasetBlob, sizes: Callable[[str], dict[str, int]], *, deep: bool
) -> str:
    """Return what is wrong with an input, or ""; ``deep`` compares its SHA-256 too."""
    key = blob.storage_key
    try:
        if sizes(packs.pack_of(key)).get(key) != blob.size:
            return "It is not there, or not of its size."
        if deep and _sha256(key) != blob.sha256:
            return "It has not the content it was added with."
    except FileNotFoundError:
        return "It is not there, or not of its size."
    except packs.PackDamaged as damage:
        return str(damage)[:200]
    return ""


def _sizes(key: str) -> dict[str, int]:
    """Return the sizes of what an object holds, by key: of a pack those of its live members.

    Raises ``FileNotFoundError`` and ``PackDamaged``.
    """
    if not packs.is_pack(key):
        return {key: blobs.size(key)}
    members = packs.unreleased_members(key)
    return {name: member.length for name, member in members.items()}


def _sha256(key: str) -> str:
    digest = hashlib.sha256()
    with blobs.open_blob(key) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def leftovers(scope: Scope) -> Iterator[Finding]:
    """Yield what was uploaded but whose entries were never written.

    Young objects are left alone, as their transaction may still commit, and so are packs that a
    rewrite is making.
    """
    prefix = prefix_of_datasets(scope.project.pk) if scope.project else DATASETS
    for each in blobs.walk(prefix):
        if each.modified_at < scope.young_from and pack_making.acknowledged(
            [each.key], each.key
        ):
            left = yield from _find_unnamed(each.key, deep=scope.deep)
            if left and scope.repair:
                blobs.delete(left)
            for key in left:
                yield Finding("orphan", key, "Of no dataset.", scope.repair)


def _find_unnamed(key: str, *, deep: bool) -> Generator[Finding, None, list[str]]:
    """Return what no row names of an object: its key, or those of some members of a pack.

    A pack that cannot be read is a finding. With ``deep`` so are members whose release on disk
    was killed before all of their bytes went.
    """
    if not packs.is_pack(key):
        return [] if _find_named([key]) else [key]
    try:
        members = {each.content_key(key): each for each in packs.live_members(key)}
    except FileNotFoundError:
        return []  # it went with its last member meanwhile
    except packs.PackDamaged as damage:
        yield Finding("pack-damaged", key, str(damage)[:200])
        return []
    named = _find_named(list(members))
    if members and not named:
        return [key]
    live = packs.unreleased(members.keys() - named)
    return [
        name
        for name, member in members.items()
        if name not in named
        and (name in live or (deep and packs.is_half_released(key, member)))
    ]


def _find_named(keys: list[str]) -> set[str]:
    rows = DatasetBlob.objects.filter(storage_key__in=keys)
    return set(rows.values_list("storage_key", flat=True))
