"""Datasets: fill them with inferences, publish versions, split, compare, download.

A dataset has one working version, which changes, and published versions, which never
change.
"""

from __future__ import annotations

from collections.abc import Sequence

from inference_store.binding import blocking
from inference_store.models import (
    Dataset,
    DatasetAddition,
    DatasetArchive,
    DatasetChange,
    DatasetComparison,
    DatasetDistribution,
    DatasetEntry,
    DatasetVersion,
    DuplicateGroup,
    NewAdditionRequest,
    NewDatasetArchiveRequest,
    NewDatasetRequest,
)
from inference_store.pages import Page, page_of
from inference_store.requests import Call, delete, get, member, one, patch, post

WORKING = "working"


@blocking
def list_datasets(project_id: str) -> Call[Page[Dataset]]:
    """Return the datasets of a project, ordered by name.

    Parameters:
        project_id: the project.

    Raises:
        NotFound: there is no such project.
        InferenceStoreError: any other failure.
    """
    return get(*_of(project_id), read=page_of(Dataset))


@blocking
def create_dataset(project_id: str, request_body: NewDatasetRequest) -> Call[Dataset]:
    """Create a dataset without entries, and return it.

    Parameters:
        project_id: the project.
        request_body: name and description.

    Raises:
        Conflict: ``dataset-exists``, the project has a dataset of this name.
        InferenceStoreError: any other failure.
    """
    return post(*_of(project_id), body=request_body, read=one(Dataset))


@blocking
def get_dataset(project_id: str, name: str) -> Call[Dataset | None]:
    """Return the dataset of this name, or None if there is none.

    Parameters:
        project_id: the project.
        name: name of the dataset.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(*_of(project_id), name, read=one(Dataset), may_be_absent=True)


@blocking
def change_dataset(
    project_id: str, name: str, request_body: DatasetChange
) -> Call[Dataset]:
    """Change name, description or splitting of a dataset, and return it.

    Published versions stay as they are.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        request_body: the fields to change.

    Raises:
        NotFound: there is no such dataset.
        Conflict: ``dataset-exists``, the project has a dataset of this name.
        InferenceStoreError: any other failure.
    """
    return patch(*_of(project_id), name, body=request_body, read=one(Dataset))


@blocking
def delete_dataset(project_id: str, name: str) -> Call[str | None]:
    """Delete a dataset with all its versions, permanently.

    Parameters:
        project_id: the project.
        name: name of the dataset.

    Returns:
        Its name; None if there is no such dataset.

    Raises:
        InferenceStoreError: any failure.
    """
    return delete(*_of(project_id), name, read=lambda _: name, may_be_absent=True)


@blocking
def add_to_dataset(
    project_id: str, name: str, request_body: NewAdditionRequest
) -> Call[DatasetAddition]:
    """Start a task that adds inferences to the working version, as copies.

    The copies stay when retention or a deletion removes the inferences later.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        request_body: the model and the selection of its inferences.

    Returns:
        The task. A worker carries it out; ``get_addition`` returns its progress.

    Raises:
        NotFound: there is no such dataset.
        Conflict: ``other-task-type``, the dataset holds answers of another kind.
        ValidationError: the selection is not valid.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(project_id),
        name,
        "additions",
        body=request_body,
        read=one(DatasetAddition),
    )


@blocking
def get_addition(
    project_id: str, name: str, addition_id: str
) -> Call[DatasetAddition | None]:
    """Return an addition task as it is now, or None if there is none of this id.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        addition_id: the task's id.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(
        *_of(project_id),
        name,
        "additions",
        addition_id,
        read=one(DatasetAddition),
        may_be_absent=True,
    )


@blocking
def list_entries(
    project_id: str,
    name: str,
    version: int | str = WORKING,
    *,
    label: str | None = None,
    query: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page[DatasetEntry]]:
    """Return one page of the entries of a version, in the order they were added.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        version: number of a published version, or ``working``.
        label: only entries that have this label among their annotations.
        query: only entries that match this text query, such as
            ``split:test label:ship score<0.4``.
        limit: entries on the page, 50 when not given, up to 1000.
        cursor: the ``next`` of the page before.

    Raises:
        NotFound: there is no such version.
        ValidationError: the query is not one, or asks what entries do not know.
        InferenceStoreError: any other failure.
    """
    return get(
        *_of(project_id),
        name,
        "versions",
        str(version),
        "entries",
        read=page_of(DatasetEntry),
        parameters={
            "label": label,
            "query": query,
            "limit": limit,
            "cursor": cursor,
        },
    )


@blocking
def remove_entries(project_id: str, name: str, entry_ids: Sequence[int]) -> Call[int]:
    """Remove entries from the working version; published versions keep theirs.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        entry_ids: ids of entries, as ``list_entries`` returns them.

    Returns:
        The number of entries that were removed: those that the working version held.

    Raises:
        NotFound: there is no such dataset.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(project_id),
        name,
        "entries",
        "remove",
        body={"entry_ids": list(entry_ids)},
        read=member("removed"),
    )


@blocking
def move_entries(
    project_id: str, name: str, entry_ids: Sequence[int], split: str
) -> Call[int]:
    """Move entries of the working version to a split; published versions stay as they are.

    With an entry go all that have the same input, or the same group.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        entry_ids: ids of entries, as ``list_entries`` returns them.
        split: name of one of the dataset's splits.

    Returns:
        The number of these entries, which are in the split now.

    Raises:
        NotFound: there is no such dataset.
        Conflict: ``not-movable``, the dataset has no splits, or a metadata value decides.
        ValidationError: there is no such split, or too much was moved.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(project_id),
        name,
        "entries",
        "move",
        body={"entry_ids": list(entry_ids), "split": split},
        read=member("moved"),
    )


@blocking
def publish_version(project_id: str, name: str, note: str = "") -> Call[DatasetVersion]:
    """Publish the working version, which then never changes, and return it.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        note: a note about the version.

    Raises:
        Conflict: ``nothing-changed`` since the last version, or ``task-already-active``.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(project_id),
        name,
        "versions",
        body={"note": note},
        read=one(DatasetVersion),
    )


@blocking
def list_versions(project_id: str, name: str) -> Call[Page[DatasetVersion]]:
    """Return the published versions, newest first.

    Parameters:
        project_id: the project.
        name: name of the dataset.

    Raises:
        NotFound: there is no such dataset.
        InferenceStoreError: any other failure.
    """
    return get(*_of(project_id), name, "versions", read=page_of(DatasetVersion))


@blocking
def get_version(
    project_id: str, name: str, version: int | str = WORKING
) -> Call[DatasetVersion | None]:
    """Return a version and its counts, or None if there is none.

    The counts of a published version are stored; those of ``working`` are counted now.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        version: number of a published version, or ``working``.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(
        *_of(project_id),
        name,
        "versions",
        str(version),
        read=one(DatasetVersion),
        may_be_absent=True,
    )


@blocking
def compare_versions(
    project_id: str, name: str, before: int | str, after: int | str = WORKING
) -> Call[DatasetComparison]:
    """Return which entries were added, removed and changed between two versions.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        before: number of the earlier version, or ``working``.
        after: number of the later version, or ``working``.

    Raises:
        NotFound: there is no such dataset or version.
        InferenceStoreError: any other failure.
    """
    return get(
        *_of(project_id),
        name,
        "compare",
        f"{before}..{after}",
        read=one(DatasetComparison),
    )


@blocking
def get_distribution(
    project_id: str,
    name: str,
    version: int | str = WORKING,
    *,
    query: str | None = None,
) -> Call[DatasetDistribution]:
    """Return how many entries of a version have each label, by split.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        version: number of a published version, or ``working``.
        query: only entries that match this text query are counted.

    Raises:
        NotFound: there is no such version.
        ValidationError: the query is not one, or asks what entries do not know.
        InferenceStoreError: any other failure.
    """
    return get(
        *_of(project_id),
        name,
        "versions",
        str(version),
        "distribution",
        read=one(DatasetDistribution),
        parameters={"query": query},
    )


@blocking
def list_duplicates(
    project_id: str,
    name: str,
    kind: str = "within",
    *,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page[DuplicateGroup]]:
    """Return one page of entries of the working version with equal or nearly equal inputs.

    A page may end early, with a cursor and without a group.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        kind: ``within`` for inputs that the dataset holds more than once, ``across`` for
            those that other datasets of the project hold, too, ``alike`` for those whose
            embeddings are nearly equal.
        limit: groups on the page, 24 when not given, up to 100.
        cursor: the ``next`` of the page before.

    Raises:
        NotFound: there is no such dataset.
        InferenceStoreError: any other failure.
    """
    return get(
        *_of(project_id),
        name,
        "duplicates",
        read=page_of(DuplicateGroup),
        parameters={"kind": kind, "limit": limit, "cursor": cursor},
    )


@blocking
def create_archive(
    project_id: str, name: str, version: int, request_body: NewDatasetArchiveRequest
) -> Call[DatasetArchive]:
    """Start a task that writes a published version as an archive, and return the task.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        version: number of a published version.
        request_body: format, container, split and options.

    Raises:
        Conflict: ``version-not-published``.
        ValidationError: the format has no such option, or the version has no such split.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(project_id),
        name,
        "versions",
        str(version),
        "archives",
        body=request_body,
        read=one(DatasetArchive),
    )


@blocking
def get_archive(
    project_id: str, name: str, archive_id: str
) -> Call[DatasetArchive | None]:
    """Return an archive as it is now, or None if there is none of this id.

    ``presigned_url`` is set once it is complete; ``downloading.download`` fetches it.

    Parameters:
        project_id: the project.
        name: name of the dataset.
        archive_id: the archive's id.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(
        *_of(project_id),
        name,
        "archives",
        archive_id,
        read=one(DatasetArchive),
        may_be_absent=True,
    )


def _of(project_id: str) -> tuple[str, ...]:
    return ("projects", project_id, "datasets")
