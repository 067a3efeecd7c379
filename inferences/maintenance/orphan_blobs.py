"""Find blobs that no record names, and delete them when they are old enough.

Members of packs are the business of ``orphan_members.py``; here are objects of their own.

A blob is put before its row, so young blobs are left alone: ``ISTORE_VERIFY_GRACE_HOURS``,
measured from the time of the put and not from the hour in the key. The rows that name a blob
are searched twice: among the rows of its hour, where nearly all are found, and then among all
rows of its model. A folder with a commit marker was acknowledged. The app that reads markers
says what became of its inference (``fates``), and nothing of the folder is deleted
unless it says that the inference was removed, or recorded from another copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from inferences.models import InferencePayload, RegisteredModel, UploadGrant
from inferences.models.row_ids import first_id_at
from inferences.previews import pictures
from istore import blobs
from istore.blobs import Stored, packs
from istore.checks.verification import Finding, Scope
from istore.failpoints import failpoint
from istore.hooks import Hook
from istore.models import Project

UPLOADS = "uploads/"
AT_ONCE = 2000
HOUR = timedelta(hours=1)
BETWEEN = 2 * HOUR  # nearly always the hours of an object and its row are this close
AFTER_EXPIRY = HOUR  # a create that began before the expiry may still read the object

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Fate:
    """What is known of a marker whose inference no record names.

    ``removed`` says that its inference was removed, and ``is_copy`` that a record of the same
    content names another place. ``finding`` is what to report. With none of them, it is still
    being processed.
    """

    removed: bool = False
    is_copy: bool = False
    finding: Finding | None = None

    @property
    def is_left_over(self) -> bool:
        """Whether the marker and what belongs to it may be deleted."""
        return self.removed or self.is_copy


Fates = Callable[[RegisteredModel, list[str], Scope], dict[str, Fate]]
fates: Hook[Fates] = Hook()  # registered by the app that reads markers


@dataclass(frozen=True, slots=True)
class Folder:
    """The objects of one inference, which share a prefix."""

    name: str
    objects: tuple[Stored, ...]

    @property
    def keys(self) -> list[str]:
        """Return the keys of the objects."""
        return [each.key for each in self.objects]

    @property
    def marker(self) -> str:
        """Return the key of the commit marker, whether it exists or not."""
        return f"{self.name}/{blobs.METADATA}"

    @property
    def answer(self) -> str:
        """Return the key of the answer, whether it exists or not."""
        return f"{self.name}/{blobs.ANSWER}"

    @property
    def unique(self) -> bytes:
        """Return the UUID of the capture, as the index of a pack has it; empty without one."""
        try:
            return UUID(self.name.rpartition("/")[2]).bytes
        except ValueError:
            return b""

    @property
    def youngest(self) -> datetime:
        """Return when the last object was put."""
        return max(each.modified_at for each in self.objects)

    @property
    def size(self) -> int:
        """Return the bytes of all objects."""
        return sum(each.size for each in self.objects)


def models_of(scope: Scope) -> QuerySet[RegisteredModel]:
    """Return the models of a scope."""
    models = RegisteredModel.objects.select_related("project").order_by("pk")
    return models if scope.project is None else models.filter(project=scope.project)


# -- objects of inferences


# Returns the captures of an hour whose records, in packs, wait to be recorded.
WaitingCaptures = Callable[[RegisteredModel, datetime, Scope], set[bytes]]


def unnamed_objects(
    scope: Scope, waiting_captures: WaitingCaptures
) -> Iterator[Finding]:
    """Find blobs below a model's prefix that no record names, and partial files.

    An input whose record is in a pack is kept while that record waits.
    """
    for model in models_of(scope):
        waiting: list[Folder] = []
        for start in hours_of(model, scope.since):
            prefix = blobs.prefix_for(model.project_id, model.pk, start, "")
            for some in _batches(_folders(prefix)):
                for each in (each for folder in some for each in folder.objects):
                    if each.is_partial and each.modified_at < scope.young_from:
                        yield _collect("partial", Folder(each.key, (each,)), scope)
                old = [
                    each
                    for each in _unnamed(model, some, start)
                    if each.youngest < scope.young_from
                ]
                if any(map(_is_input_alone, old)):
                    kept = waiting_captures(model, start, scope)
                    old = [
                        each
                        for each in old
                        if not (_is_input_alone(each) and each.unique in kept)
                    ]
                waiting += old
                if len(waiting) >= AT_ONCE:
                    yield from _named_nowhere(model, waiting, scope)
                    waiting = []
        yield from _named_nowhere(model, waiting, scope)


def _is_input_alone(folder: Folder) -> bool:
    return folder.keys == [f"{folder.name}/{blobs.INPUT}"]


def hours_of(model: RegisteredModel, since: datetime | None) -> Iterator[datetime]:
    """Yield the hours that have a folder, oldest first."""
    first = f"{since:%Y/%m/%d/%H}" if since else ""
    yield from _hours_below(f"{model.project_id}/{model.pk}/", "", first)


def _hours_below(top: str, path: str, first: str) -> Iterator[datetime]:
    for name in sorted(blobs.listed(f"{top}{path}")[0]):
        below = f"{path}{name}"
        if below < first[: len(below)]:
            continue
        if path.count("/") < 3:
            yield from _hours_below(top, f"{below}/", first)
            continue
        with suppress(ValueError):  # not a folder of ours
            yield datetime.strptime(below, "%Y/%m/%d/%H").replace(tzinfo=UTC)


def _folders(prefix: str) -> Iterator[Folder]:
    objects = (each for each in blobs.walk(prefix) if not packs.is_pack(each.key))
    for name, group in groupby(objects, lambda each: each.folder):
        yield Folder(name, tuple(group))


def _folders_and_packs(prefix: str) -> Iterator[Folder]:
    """Yield the folders, and each pack as one of its own."""

    def name_of(each: Stored) -> str:
        return each.key if packs.is_pack(each.key) else each.folder

    for name, group in groupby(blobs.walk(prefix), name_of):
        yield Folder(name, tuple(group))


def _unnamed(
    model: RegisteredModel, folders: Iterable[Folder], start: datetime | None
) -> list[Folder]:
    """Return the folders with objects that no row names.

    Only rows around the hour ``start`` are searched, or all rows without it.
    """
    whole = [
        Folder(each.name, tuple(o for o in each.objects if not o.is_partial))
        for each in folders
    ]
    keys = [key for each in whole for key in (*each.keys, each.answer)]
    named = named_among(model, keys, start)
    left = []
    for folder in whole:
        markers = {folder.marker} if folder.answer in named else set()
        rest = tuple(o for o in folder.objects if o.key not in named | markers)
        if rest:
            left.append(Folder(folder.name, rest))
    return left


# Storage keys have no index, so nearly all keys are found in a short range of ids first.
NAMED = f"""
SELECT data_storage_key, answer_storage_key FROM {InferencePayload._meta.db_table}
WHERE model_key = %(model)s AND id >= %(lowest)s AND id < %(highest)s
  AND (data_storage_key = ANY(%(keys)s) OR answer_storage_key = ANY(%(keys)s))
"""


def named_among(
    model: RegisteredModel, keys: list[str], start: datetime | None = None
) -> set[str]:
    """Return those of the keys that a row names, around the hour ``start`` or anywhere."""
    lowest, highest = -(2**63), 2**63 - 1
    if start is not None:
        lowest = first_id_at(start - BETWEEN)
        highest = first_id_at(start + HOUR + BETWEEN)
    values: dict[str, Any] = {
        "model": model.pk,
        "keys": keys,
        "lowest": lowest,
        "highest": highest,
    }
    with connection.cursor() as cursor:
        cursor.execute(NAMED, values)
        return {key for row in cursor for key in row if key}


def _named_nowhere(
    model: RegisteredModel, folders: list[Folder], scope: Scope
) -> Iterator[Finding]:
    """Yield findings for the folders that no row of the model names, whatever its hour."""
    if not folders:
        return
    left = _unnamed(model, folders, None)
    marked = [each.marker for each in left if each.marker in each.keys]
    found = fates_of(model, marked, scope) if marked else {}
    for folder in left:
        fate = found.get(folder.marker, Fate(removed=True))
        if fate.finding:
            yield fate.finding
        elif fate.is_left_over:
            yield _collect("unnamed", folder, scope)


def fates_of(
    model: RegisteredModel, markers: list[str], scope: Scope
) -> dict[str, Fate]:
    """Return what became of the inferences whose markers no record names, by marker."""
    found = ask(model, markers, scope) if (ask := fates.single) else {}
    unknown = "Acknowledged, and not in the store."
    return {
        each: found.get(each, Fate(finding=Finding("unrecorded", each, unknown)))
        for each in markers
    }


def _collect(kind: str, folder: Folder, scope: Scope) -> Finding:
    if scope.repair:
        pictures.forget(folder.keys)
        blobs.delete(folder.keys)
        failpoint("collecting.removed")
    count = len(folder.objects)
    detail = f"{count} {'object' if count == 1 else 'objects'}, {folder.size} bytes."
    return Finding(kind, folder.name, detail, scope.repair)


def objects_of_no_model(scope: Scope) -> Iterator[Finding]:
    """Find blobs under a project or model number that does not exist.

    Beat never deletes them: a store that was connected to the wrong database must not empty
    its blob storage.
    """
    for project in blobs.listed("")[0]:
        if not project.isdecimal() or scope.project not in (None, _project(project)):
            continue
        for model in blobs.listed(project)[0]:
            if _is_model(_number(project), _number(model)):
                continue
            for folder in _folders_and_packs(f"{project}/{model}/"):
                if folder.youngest < scope.young_from:
                    yield _collect("of-no-model", folder, scope)


def _project(name: str) -> Project | None:
    number = _number(name)
    return None if number is None else Project.objects.filter(pk=number).first()


def _is_model(project: int | None, model: int | None) -> bool:
    if project is None or model is None:
        return False
    return RegisteredModel.objects.filter(pk=model, project=project).exists()


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


# -- staged uploads


def staged_uploads(scope: Scope) -> Iterator[Finding]:
    """Find staged uploads without an open grant, and grants that expired long ago."""
    ended = _ended_grants(scope).filter(expires_at__lt=scope.young_from)
    for grants in _batches(ended.order_by("pk").iterator(AT_ONCE)):
        if scope.repair:
            collect_grants(grants)
        for row in grants:
            detail = f"Granted to {row.granted_to}."
            yield Finding("grant-expired", row.storage_key, detail, scope.repair)
    top = UPLOADS if scope.project is None else f"{UPLOADS}{scope.project.pk}/"
    for folders in _batches(_folders(top)):
        keys = {key for folder in folders for key in folder.keys}
        granted = set(
            UploadGrant.objects.filter(storage_key__in=keys).values_list(
                "storage_key", flat=True
            )
        )
        for folder in folders:
            rest = tuple(o for o in folder.objects if o.key not in granted)
            left = Folder(folder.name, rest)
            if rest and left.youngest < scope.young_from:
                partial = all(each.is_partial for each in rest)
                yield _collect("partial" if partial else "unnamed", left, scope)


def _ended_grants(scope: Scope) -> QuerySet[UploadGrant]:
    grants = UploadGrant.objects.all()
    if scope.project is not None:
        grants = grants.filter(registered_model__project=scope.project)
    return grants


def collect_uploads(at: datetime) -> int:
    """Delete what expired grants have staged, and then the grants; return how many. For beat.

    The upload of a bound grant was copied, so only the object is deleted. Its row stays until
    it expires, so that a second create learns that the grant is bound.
    """
    over = UploadGrant.objects.filter(expires_at__lt=at - AFTER_EXPIRY)
    collected = 0
    for some in _batches(over.order_by("pk").iterator(AT_ONCE)):
        collected += collect_grants(some)
    bound = UploadGrant.objects.filter(
        Q(bound_at__lt=at - AFTER_EXPIRY, bound_at__gte=at - 3 * AFTER_EXPIRY)
    )
    for some in _batches(bound.order_by("pk").iterator(AT_ONCE)):
        blobs.delete(row.storage_key for row in some)
    return collected


def collect_grants(rows: list[UploadGrant]) -> int:
    """Delete the staged objects, then the grants; return how many.

    In this order a row that is left after a crash names the objects that are left.
    """
    blobs.delete(row.storage_key for row in rows)
    failpoint("collecting.staged_removed")
    UploadGrant.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def open_multipart_uploads(scope: Scope) -> Iterator[Finding]:
    """Find multipart uploads that were started long ago; the object store keeps their parts."""
    for key, end in blobs.open_uploads(scope.young_from):
        if scope.repair:
            end()
        yield Finding("partial", key, "An upload in parts.", scope.repair)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, AT_ONCE)):
        yield some
