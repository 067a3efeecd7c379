"""What editors do with datasets; every change writes an audit entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from datasets import adding, summary
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
from istore.api.problems import Conflict, invalid
from istore.models import AuditEntry, Project
from istore.tasks.tracking import TrackedTask

AT_ONCE = 1000


def create(actor: object, project: Project, name: str, **values: Any) -> Dataset:
    """Create a dataset without entries; 409 if the project has one of this name."""
    try:
        with transaction.atomic():
            dataset = Dataset.objects.create(
                project=project,
                name=name,
                splitting=Splitting().kept(),
                created_by=str(actor)[:300],
                **values,
            )
            _audit(actor, "dataset.create", dataset)
    except IntegrityError:
        raise Conflict(
            "The project has a dataset of this name.", "dataset-exists"
        ) from None
    dataset.refresh_from_db()
    return dataset


@transaction.atomic
def change(actor: object, dataset: Dataset, **values: Any) -> Dataset:
    """Change the name, the description, or the splitting of the working version."""
    dataset = _lock(dataset)
    said = dict(values)
    if (splitting := values.pop("splitting", None)) is not None:
        dataset.splitting = said["splitting"] = splitting.kept()
    for name, value in values.items():
        setattr(dataset, name, value)
    try:
        with transaction.atomic():
            dataset.save()
    except IntegrityError:
        raise Conflict(
            "The project has a dataset of this name.", "dataset-exists"
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
    """Start a task that adds the selection; 409 for a model of another project or task type."""
    if model.project_id != dataset.project_id:
        raise Conflict("The model is of another project.", "other-project")
    if dataset.task_type and dataset.task_type != model.task_type:
        message = (
            f"The dataset holds {dataset.task_type}, the model does {model.task_type}."
        )
        raise Conflict(message, "other-task-type")
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
        task.ring()
    task.refresh_from_db()
    return task


@transaction.atomic
def remove_entries(actor: object, dataset: Dataset, ids: Sequence[int]) -> int:
    """Remove entries from the working version, and return how many it held.

    Published versions keep theirs.
    """
    dataset = _lock(dataset)
    entries = list(dataset.entries.current().filter(pk__in=ids))
    adding.leave(dataset, entries)
    Dataset.objects.filter(pk=dataset.pk).update(updated_at=Now())
    if entries:
        _audit(actor, "dataset.remove", dataset, count=len(entries))
    return len(entries)


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

    409 while a task still adds to it (``task-already-active``), or if nothing changed since
    the last version (``nothing-changed``).
    """
    dataset = _lock(dataset)
    if dataset.adding_tasks.active().exists():
        message = "Inferences are still being added. Wait, or stop that first."
        raise Conflict(message, "task-already-active")
    if dataset.published and not summary.has_changed(dataset):
        raise Conflict("Nothing changed since the last version.", "nothing-changed")
    version = DatasetVersion.objects.create(
        dataset=dataset,
        number=dataset.working,
        note=note,
        splitting=dataset.splitting,
        summary=summary.of_version(dataset, dataset.working),
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

    409 (``version-not-published``) for any other version.
    """
    published = dataset.versions.filter(number=version).first()
    if published is None:
        raise Conflict("Publish the version first.", "version-not-published")
    if split and split not in dataset.splitting_of(version).names:
        raise invalid("The version has no such split.", "split")
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
        task.ring()
    task.refresh_from_db()
    return task


def stop(actor: object, dataset: Dataset, task: TrackedTask) -> None:
    """Stop a task of the dataset; 409 (``task-already-ended``) if it has ended."""
    with transaction.atomic():
        if not task.stop():
            raise Conflict("The task has ended already.", "task-already-ended")
        _audit(actor, "dataset.stop", dataset, task=str(task.pk))


def retry(actor: object, dataset: Dataset, task: TrackedTask) -> None:
    """Resume a failed or stopped task; 409 (``task-not-ended``) for any other."""
    with transaction.atomic():
        if not task.resume():
            message = "Only a task that failed or was stopped is tried again."
            raise Conflict(message, "task-not-ended")
        _audit(actor, "dataset.retry", dataset, task=str(task.pk))


@transaction.atomic
def delete(actor: object, dataset: Dataset) -> None:
    """Hide a dataset at once and free its name; a worker removes its contents later."""
    dataset = _lock(dataset)
    Dataset.objects.filter(pk=dataset.pk).update(deleted_at=Now())
    _audit(actor, "dataset.delete", dataset)


def _lock(dataset: Dataset) -> Dataset:
    found = Dataset.objects.live().select_for_update().filter(pk=dataset.pk).first()
    if found is None:
        raise Conflict("The dataset was deleted at this moment.", "dataset-deleted")
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
