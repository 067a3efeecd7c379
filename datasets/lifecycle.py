"""What editors do with datasets; every change writes an audit entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from datasets import adding, distribution, summary
from datasets.models import (
    AddingTask,
    Dataset,
    DatasetArchive,
    DatasetEntry,
    DatasetVersion,
)
from datasets.splitting import Splitting
from exports.selections import Selection
from exports.task_lifecycle import expected
from inferences.models import RegisteredModel
from inferences.search.filters import InferenceFilter
from istore.errors import Conflict, Invalid
from istore.models import AuditEntry, Project

AT_ONCE = 1000
REMOVED_MAX = 10_000


def create(actor: object, project: Project, name: str, **values: Any) -> Dataset:
    """Create a dataset without entries. Raises ``Conflict`` if its name is taken."""
    try:
        with transaction.atomic():
            dataset = Dataset.objects.create(
                project=project,
                name=name,
                splitting=Splitting().to_json(),
                created_by=str(actor)[:300],
                **values,
            )
            _audit(actor, "dataset.create", dataset)
    except IntegrityError:
        raise Conflict(
            "dataset-exists", "The project has a dataset of this name."
        ) from None
    dataset.refresh_from_db()
    return dataset


@transaction.atomic
def change(actor: object, dataset: Dataset, **values: Any) -> Dataset:
    """Change the name, the description, or the splitting of the working version."""
    dataset = _lock(dataset)
    said = dict(values)
    if (splitting := values.pop("splitting", None)) is not None:
        splitting = splitting.keeping_moved(Splitting.from_json(dataset.splitting))
        dataset.splitting = said["splitting"] = splitting.to_json()
    for name, value in values.items():
        setattr(dataset, name, value)
    try:
        with transaction.atomic():
            dataset.save()
    except IntegrityError:
        raise Conflict(
            "dataset-exists", "The project has a dataset of this name."
        ) from None
    Dataset.objects.filter(pk=dataset.pk).update(updated_at=Now())
    _audit(actor, "dataset.change", dataset, **said)
    dataset.refresh_from_db()
    return dataset


def add(
    actor: object,
    dataset: Dataset,
    model: RegisteredModel,
    selection: Selection,
    asked: dict[str, Any],
    *,
    skip_duplicates: bool = False,
) -> AddingTask:
    """Start a task that adds the selection.

    Raises ``Conflict`` for a model of another project or task type.
    """
    if model.project_id != dataset.project_id:
        raise Conflict("other-project", "The model is of another project.")
    if dataset.task_type and dataset.task_type != model.task_type:
        message = (
            f"The dataset holds {dataset.task_type}, the model does {model.task_type}."
        )
        raise Conflict("other-task-type", message)
    count = expected(model, selection)
    with transaction.atomic():
        task = AddingTask.objects.create(
            dataset=dataset,
            model=model,
            created_by=str(actor)[:300],
            selection=asked,
            skip_duplicates=skip_duplicates,
            expected_count=count or 0,
        )
        _audit(actor, "dataset.add", dataset, model=model.model_id, expected=count)
        task.notify()
    task.refresh_from_db()
    return task


@transaction.atomic
def remove_entries(actor: object, dataset: Dataset, ids: Sequence[int]) -> int:
    """Remove entries from the working version, and return how many it held.

    Published versions keep theirs.
    """
    dataset = _lock(dataset)
    entries = list(dataset.entries.current().filter(pk__in=ids))
    _remove(actor, dataset, entries)
    return len(entries)


def _remove(actor: object, dataset: Dataset, entries: list[DatasetEntry]) -> None:
    adding.leave(dataset, entries)
    Dataset.objects.filter(pk=dataset.pk).update(updated_at=Now())
    if entries:
        _audit(actor, "dataset.remove", dataset, count=len(entries))


@transaction.atomic
def keep_one_of_each(
    actor: object, dataset: Dataset, kept_ids: Sequence[int]
) -> list[int]:
    """Remove all entries that have the input of one of these, and return which these were.

    Raises ``Invalid`` if more than ``REMOVED_MAX`` would go at once.
    """
    dataset = _lock(dataset)
    current = dataset.entries.current()
    kept = {
        bytes(data_hash): pk
        for pk, data_hash in current.filter(pk__in=kept_ids).values_list(
            "pk", "data_hash"
        )
    }
    # Served by dataset_entry_input.
    same = current.filter(data_hash__in=kept.keys()).exclude(pk__in=kept.values())
    entries = list(same.order_by("pk")[: REMOVED_MAX + 1])
    if len(entries) > REMOVED_MAX:
        raise Invalid(f"More than {REMOVED_MAX:,} entries would go at once.")
    _remove(actor, dataset, entries)
    return [each.pk for each in entries]


@transaction.atomic
def move_entries(
    actor: object, dataset: Dataset, ids: Sequence[int], split: str
) -> int:
    """Move entries of the working version to a split; return how many of them are in it now.

    The unit moves: with an entry go all that have the same input, or the same group. An
    entry that is moved to the split that its hash draws is no longer kept as moved. Raises
    ``Conflict`` ``not-movable`` for a dataset without splits or one split by a value, and
    ``Invalid`` for an unknown split or too many moves.
    """
    dataset = _lock(dataset)
    splitting = Splitting.from_json(dataset.splitting)
    if not splitting.may_move:
        message = "Only entries that are split by shares can be moved."
        raise Conflict("not-movable", message)
    if split not in splitting.shares:
        raise Invalid("The dataset has no such split.", "split")
    rows = dataset.entries.current().filter(pk__in=ids)
    units = {
        splitting.digest_of(data_hash, metadata)
        for data_hash, metadata in rows.values_list("data_hash", "metadata")
    }
    try:
        moved = splitting.moving(units, split)
    except ValueError as error:
        raise Invalid(str(error), "entry_ids") from None
    if moved != splitting:
        dataset.splitting = moved.to_json()
        dataset.save(update_fields=["splitting"])
        Dataset.objects.filter(pk=dataset.pk).update(updated_at=Now())
        _audit(actor, "dataset.move", dataset, count=len(units), split=split)
    return rows.count()


@transaction.atomic
def put_back(actor: object, dataset: Dataset, ids: Sequence[int]) -> int:
    """Undo the removal of entries from the working version, and return how many are back.

    Only entries of published versions can be put back. Those whose inference was added
    again since then stay removed.
    """
    dataset = _lock(dataset)
    again = dataset.entries.current().filter(
        model_id=OuterRef("model_id"), inference_id=OuterRef("inference_id")
    )
    gone = dataset.entries.filter(pk__in=ids, gone_version=dataset.working)
    count = gone.exclude(Exists(again)).update(gone_version=None)
    if count:
        Dataset.objects.filter(pk=dataset.pk).update(updated_at=Now())
        _audit(actor, "dataset.put_back", dataset, count=count)
    return count


@transaction.atomic
def publish(actor: object, dataset: Dataset, note: str = "") -> DatasetVersion:
    """Publish the working version, which never changes from then on.

    Raises ``Conflict`` while a task still adds to it (``task-already-active``), or if nothing
    changed since the last version (``nothing-changed``).
    """
    dataset = _lock(dataset)
    if dataset.adding_tasks.active().exists():
        message = "Inferences are still being added. Wait, or stop that first."
        raise Conflict("task-already-active", message)
    if dataset.published and not summary.has_changed(dataset):
        raise Conflict("nothing-changed", "Nothing changed since the last version.")
    version = DatasetVersion.objects.create(
        dataset=dataset,
        number=dataset.working,
        note=note,
        splitting=dataset.splitting,
        summary={
            **summary.of_version(dataset, dataset.working),
            "distribution": distribution.count(
                dataset, dataset.working, InferenceFilter()
            ).to_json(),
        },
        published_by=str(actor)[:300],
    )
    dataset.published = version.number
    dataset.save(update_fields=["published"])
    _audit(actor, "dataset.publish", dataset, version=version.number)
    version.refresh_from_db()
    return version


def archive(
    actor: object,
    dataset: Dataset,
    version: int,
    *,
    format: str,
    container: str,
    split: str = "",
    options: dict[str, Any] | None = None,
) -> DatasetArchive:
    """Start a task that writes a published version as an archive.

    Raises ``Conflict`` ``version-not-published`` for any other version.
    """
    published = dataset.versions.filter(number=version).first()
    if published is None:
        raise Conflict("version-not-published", "Publish the version first.")
    if split and split not in dataset.splitting_of(version).names:
        raise Invalid("The version has no such split.", "split")
    with transaction.atomic():
        task = DatasetArchive.objects.create(
            dataset=dataset,
            version=version,
            split=split,
            created_by=str(actor)[:300],
            format=format,
            container=container,
            options=options or {},
            expected_count=published.summary.get("entries", 0),
        )
        _audit(actor, "dataset.archive", dataset, version=version, format=format)
        task.notify()
    task.refresh_from_db()
    return task


@transaction.atomic
def delete(actor: object, dataset: Dataset) -> None:
    """Hide a dataset at once and free its name; a worker removes its contents later."""
    dataset = _lock(dataset)
    Dataset.objects.filter(pk=dataset.pk).update(deleted_at=Now())
    _audit(actor, "dataset.delete", dataset)


def _lock(dataset: Dataset) -> Dataset:
    found = Dataset.objects.live().select_for_update().filter(pk=dataset.pk).first()
    if found is None:
        raise Conflict("dataset-deleted", "The dataset was deleted at this moment.")
    return found


def _audit(actor: object, action: str, dataset: Dataset, **details: Any) -> None:
    AuditEntry.write(actor, action, dataset.name, dataset.project, **details)


def finish_deletions() -> int:
    """Remove the contents of deleted datasets in batches; return how many datasets ended.

    A dataset with active tasks is left for a later run, after its tasks were asked to stop.
    """
    from exports.cleanup import remove_archive

    gone = 0
    for dataset in Dataset.objects.exclude(deleted_at=None):
        for task in dataset.archives.exclude(archive_key=""):
            remove_archive(task, "The dataset was deleted.")
        tasks = [*dataset.adding_tasks.active(), *dataset.archives.active()]
        for active in tasks:
            active.stop()
        if tasks:
            continue  # the workers that hold these tasks must stop first
        while ids := list(dataset.entries.values_list("pk", flat=True)[:AT_ONCE]):
            DatasetEntry.objects.filter(pk__in=ids).delete()
        dataset.delete()
        gone += 1
    return gone
