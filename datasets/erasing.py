"""Erasure in datasets: remove entries from all versions, and archives that hold them."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction

from datasets import shared_blobs
from datasets.models import (
    AddingTask,
    Dataset,
    DatasetArchive,
    DatasetEntry,
    DatasetVersion,
)
from datasets.splitting import DIGEST_BYTES, Splitting
from exports.cleanup import remove_archive
from exports.erasing import FORGOTTEN, names_value, take_from_workers
from inferences.erasure.matching_records import Carried
from inferences.models import RegisteredModel
from istore.models import Project

ERASED = "Something in it was erased."


def of_records(model: RegisteredModel, row_ids: list[int]) -> int:
    """Remove the entries of these inferences, and return how many were removed."""
    entries = DatasetEntry.objects.filter(
        dataset__project=model.project, model_id=model.model_id, row_id__in=row_ids
    )
    return _erase(model.project, list(entries.values_list("pk", flat=True)))


def of_value(project: Project, carried: Carried) -> int:
    """Remove entries that carry the value, even if their inference was removed or changed.

    Selections that name it are forgotten. Return how many entries and selections that was.
    """
    return _forget_selections(project, carried) + _remove_entries(project, carried)


def _forget_selections(project: Project, carried: Carried) -> int:
    tasks = AddingTask.objects.filter(dataset__project=project)
    named = [
        task.pk for task in tasks.iterator(100) if names_value(task.selection, carried)
    ]
    asked = tasks.filter(pk__in=named)
    take_from_workers(asked)
    return asked.update(selection=FORGOTTEN)


def _remove_entries(project: Project, carried: Carried) -> int:
    entries = DatasetEntry.objects.filter(dataset__project=project)
    if carried.is_source:
        of_source = entries.filter(data_source=carried.value)
        return _erase(project, list(of_source.values_list("pk", flat=True)))
    key = carried.path[0]
    rows = entries.filter(metadata__has_key=key).values_list("pk", "metadata")
    ids = [pk for pk, metadata in rows.iterator(2000) if carried.is_in(metadata[key])]
    _forget_moves(project, key, carried.value)
    return _erase(project, ids)


def _forget_moves(project: Project, key: str, value: str) -> None:
    """Forget that the group of a value was moved: its hash could be guessed from the value."""
    datasets = Dataset.objects.filter(project=project)
    versions = DatasetVersion.objects.filter(dataset__project=project)
    wanted = {"splitting__kind": "group", "splitting__key": key}
    for row in (*datasets.filter(**wanted), *versions.filter(**wanted)):
        splitting = Splitting.from_json(row.splitting)
        digest = splitting.digest_of(b"", {key: ["", value]})[:DIGEST_BYTES].hex()
        if digest in splitting.moved:
            kept = {d: name for d, name in splitting.moved.items() if d != digest}
            row.splitting = replace(splitting, moved=kept).to_json()
            row.save(update_fields=["splitting"])


def _erase(project: Project, ids: list[int]) -> int:
    if not ids:
        return 0
    entries = DatasetEntry.objects.filter(pk__in=ids)
    datasets = list(entries.values_list("dataset", flat=True).distinct())
    archives = DatasetArchive.objects.filter(dataset__in=datasets).exclude(
        archive_key=""
    )
    for task in archives:
        remove_archive(task, ERASED)
    with transaction.atomic():
        gone = entries.count()
        entries.delete()
    shared_blobs.collect(project)
    return gone
