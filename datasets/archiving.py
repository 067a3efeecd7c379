"""Published versions as members of archives, so that exports can write them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from django.conf import settings

from datasets.annotations import taken_apart, text_of
from datasets.models import DatasetArchive, DatasetEntry
from exports.export_report import Receipt
from exports.members import Batch, Member, Value
from inferences.models import RegisteredModel
from istore import blobs
from istore.db.clock import now

ERASED = "(erased)"


class EntryBatch(Batch):
    """A batch of consecutive entries. It needs no rows of inferences: entries are copies."""

    def __init__(
        self, first_number: int, entries: list[tuple[DatasetEntry, str | None]]
    ):
        self.first_number = first_number
        self.entries = entries
        self.row_ids = self.names = ()
        self.inferences = {}
        self.truths = {}

    def members(self) -> Iterator[Member]:
        for place, (entry, split) in enumerate(self.entries):
            yield member_of(self.first_number + place, entry, split)


class Erased(EntryBatch):
    """The entries that existed when the set was fixed, and were removed since."""

    def __init__(self, first_number: int, count: int) -> None:
        super().__init__(first_number, [])
        self.names = [ERASED] * count
        self.row_ids = [0] * count


def member_of(number: int, entry: DatasetEntry, split: str | None) -> Member:
    """Return an entry as a member of an archive; ``number`` is its place in the set."""
    return Member(
        number=number,
        inference_id=entry.inference_id,
        created_at=entry.happened_at,
        updated_at=None,
        inference_action=entry.get_inference_action_display(),
        data_hash=bytes(entry.data_hash),
        data_size=entry.data_size,
        data_source=entry.data_source,
        latitude=entry.latitude,
        longitude=entry.longitude,
        is_protected=False,
        version=1,
        metadata={key: Value(*value) for key, value in entry.metadata.items()},
        notes=None,
        content_type=entry.blob.content_type if entry.blob else "",
        read_input=lambda: _open(entry),
        read_answer=lambda: text_of(entry),
        read_embedding=lambda: entry.embedding,
        said_of=lambda text: taken_apart(entry, text),
        read_truth=lambda: entry.truth,
        split=split,
    )


def _open(entry: DatasetEntry) -> Any:
    if entry.blob is None:
        raise FileNotFoundError
    return blobs.open_blob(entry.blob.storage_key)


class VersionMembers:
    """The members of a ``DatasetArchive``. A published version is a fixed set by itself."""

    def fix(self, task: DatasetArchive) -> None:
        task.record(expected_count=self._count(task), fixed_at=now())

    def _count(self, task: DatasetArchive) -> int:
        if not task.split:
            return task.dataset.entries_of(task.version).count()
        return sum(1 for _ in self._entries(task))

    def _entries(
        self, task: DatasetArchive
    ) -> Iterator[tuple[DatasetEntry, str | None]]:
        splitting = task.dataset.splitting_of(task.version)
        rows = task.dataset.entries_of(task.version).order_by("pk")
        last = 0
        while batch := list(
            rows.filter(pk__gt=last).select_related("source", "blob")[
                : settings.ISTORE_EXPORT_BATCH
            ]
        ):
            for entry in batch:
                split = splitting.split_of(entry.data_hash, entry.metadata)
                if not task.split or split == task.split:
                    yield entry, split
            last = batch[-1].pk

    def batches(self, task: DatasetArchive) -> Iterator[Batch]:
        number, waiting = 1, []
        for pair in self._entries(task):
            waiting.append(pair)
            if len(waiting) == settings.ISTORE_EXPORT_BATCH:
                yield EntryBatch(number, waiting)
                number += len(waiting)
                waiting = []
        if waiting:
            yield EntryBatch(number, waiting)
            number += len(waiting)
        if missing := task.expected_count - (number - 1):
            yield Erased(number, missing)

    def model(self, task: DatasetArchive) -> Any:
        """Return what formats need of a model: its id and its class labels."""
        sources = task.dataset.sources.order_by("pk")
        labels = dict.fromkeys(label for each in sources for label in each.class_labels)
        names = [each.model_id for each in sources]
        models = RegisteredModel.objects.filter(
            project=task.dataset.project_id, model_id__in=names
        )
        return SimpleNamespace(
            model_id=task.dataset.name,
            project=task.dataset.project,
            project_id=task.dataset.project_id,
            task_type=task.dataset.task_type,
            class_labels=list(labels),
            embedding_size=0,
            model_keys=list(models.order_by("pk").values_list("pk", flat=True)),
        )

    def facts(self, task: DatasetArchive) -> dict[str, Any]:
        model = self.model(task)
        splitting = task.dataset.splitting_of(task.version)
        facts = {"export_task_id": str(task.pk), **task.told()}
        return facts | {
            "class_labels": model.class_labels,
            "splitting": splitting.to_json(),
        }

    def warn(self, task: DatasetArchive, receipt: Receipt) -> None:
        """Add no warnings: there are none about a version as a whole."""
