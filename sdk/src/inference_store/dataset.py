"""Datasets: fill them with inferences, publish versions, split, compare, download."""

from __future__ import annotations

from collections.abc import Sequence

from inference_store.binding import blocking
from inference_store.models import (
    Dataset,
    DatasetAddition,
    DatasetArchive,
    DatasetChange,
    DatasetComparison,
    DatasetEntry,
    DatasetVersion,
    NewAdditionRequest,
    NewDatasetArchiveRequest,
    NewDatasetRequest,
)
from inference_store.pages import Page, page_of
from inference_store.requests import Call, delete, get, member, one, patch, post

WORKING = "working"


@blocking
def list_datasets(project_id: str) -> Call[Page[Dataset]]:
    """The datasets of a project, by name.

    Raises:
        NotFound: there is no such project.
        InferenceStoreError: any other failure.
    """
    return get(*_of(project_id), read=page_of(Dataset))


@blocking
def create_dataset(project_id: str, request_body: NewDatasetRequest) -> Call[Dataset]:
    """A dataset without entries.

    Raises:
        Conflict: ``dataset-exists``.
        InferenceStoreError: any other failure.
    """
    return post(*_of(project_id), body=request_body, read=one(Dataset))


@blocking
def get_dataset(project_id: str, name: str) -> Call[Dataset | None]:
    """The dataset of this name; None if there is none."""
    return get(*_of(project_id), name, read=one(Dataset), may_be_absent=True)


@blocking
def change_dataset(
    project_id: str, name: str, request_body: DatasetChange
) -> Call[Dataset]:
    """Rename, describe or split a dataset. Published versions stay as they are.

    Raises:
        NotFound: there is no such dataset.
        Conflict: ``dataset-exists``.
        InferenceStoreError: any other failure.
    """
    return patch(*_of(project_id), name, body=request_body, read=one(Dataset))


@blocking
def delete_dataset(project_id: str, name: str) -> Call[str | None]:
    """Delete a dataset with all its versions, for good.

    Returns:
        Its name; None if there is none.
    """
    return delete(*_of(project_id), name, read=lambda _: name, may_be_absent=True)


@blocking
def add_to_dataset(
    project_id: str, name: str, request_body: NewAdditionRequest
) -> Call[DatasetAddition]:
    """Begin to add inferences to the working version, as copies that stay.

    Returns:
        The task, which goes on by itself (see ``get_addition``).

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
    """A task that adds, as it is now; None if there is none."""
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
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page[DatasetEntry]]:
    """One page of the entries of a version, in the order they were added.

    Parameters:
        project_id: the project.
        name: of the dataset.
        version: a number, or ``working``.
        label: with this label among their annotations.
        limit: entries on the page, 50 when not given, up to 1000.
        cursor: the ``next`` of the page before.

    Raises:
        NotFound: there is no such version.
        InferenceStoreError: any other failure.
    """
    return get(
        *_of(project_id),
        name,
        "versions",
        str(version),
        "entries",
        read=page_of(DatasetEntry),
        parameters={"label": label, "limit": limit, "cursor": cursor},
    )


@blocking
def remove_entries(project_id: str, name: str, entry_ids: Sequence[int]) -> Call[int]:
    """Take entries out of the working version; published versions keep theirs.

    Returns:
        How many were in it.
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
def publish_version(project_id: str, name: str, note: str = "") -> Call[DatasetVersion]:
    """Fix the working version for good.

    Raises:
        Conflict: ``nothing-changed`` since the last, or ``task-already-active``.
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
    """The published versions, newest first."""
    return get(*_of(project_id), name, "versions", read=page_of(DatasetVersion))


@blocking
def get_version(
    project_id: str, name: str, version: int | str = WORKING
) -> Call[DatasetVersion | None]:
    """What a version holds; the working one is counted now. None if there is none."""
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
    """What became of one version on the way to another."""
    return get(
        *_of(project_id),
        name,
        "compare",
        f"{before}..{after}",
        read=one(DatasetComparison),
    )


@blocking
def create_archive(
    project_id: str, name: str, version: int, request_body: NewDatasetArchiveRequest
) -> Call[DatasetArchive]:
    """Begin to write a published version as an archive.

    Raises:
        Conflict: ``version-not-published``.
        ValidationError: the format has no such option, the version no such split.
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
    """An archive as it is now, with ``presigned_url`` once complete; None if absent."""
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
