"""Download archives to disk. A file appears only once it is whole and its hash is right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from inference_store.errors import InferenceStoreError
from inference_store.models import DatasetArchive, ExportTask

__all__ = ["DownloadFailed", "download"]

TIMEOUT_SECONDS = 60.0


class DownloadFailed(InferenceStoreError):
    """The download failed, or the bytes are not those that the store wrote."""


def download(
    task: ExportTask | DatasetArchive,
    path: Path,
    advance: Callable[[int], None] = lambda count: None,
    transport: httpx2.BaseTransport | None = None,
) -> Path:
    """Download the archive of a complete task, check it, and return its path.

    The chunks go to a temporary file, which replaces ``path`` after the check.

    Parameters:
        task: the task, fetched just now: its ``presigned_url`` expires.
        path: path of the file. A file that is there is replaced once the archive is whole.
        advance: called after each chunk with the number of its bytes.
        transport: an ``httpx2`` transport, for tests.

    Returns:
        The path.

    Raises:
        DownloadFailed: the task has no archive, or its bytes are not those written.
    """
    link = archive_url(task)
    with (
        receive_archive(task, path, advance) as take,
        httpx2.Client(timeout=TIMEOUT_SECONDS, transport=transport) as client,
        client.stream("GET", link) as response,
    ):
        check_response(response)
        for chunk in response.iter_bytes():
            take(chunk)
    return path


def archive_url(task: ExportTask | DatasetArchive) -> str:
    """Return the archive's URL. It is signed, so the token is not sent with it."""
    if not task.presigned_url:
        raise DownloadFailed(f"The export {task.id} has no archive ({task.state}).")
    return task.presigned_url


def check_response(response: httpx2.Response) -> None:
    """Raise DownloadFailed unless the body of this response is the archive."""
    if response.status_code != 200:
        raise DownloadFailed(
            f"The archive's link answered {response.status_code}.",
            status=response.status_code,
        )


@contextmanager
def receive_archive(
    task: ExportTask | DatasetArchive, path: Path, advance: Callable[[int], None]
) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that takes the chunks; afterwards the file is checked and moved.

    The chunks go to ``.NAME.partial`` beside the path. It replaces the path if its SHA-256
    is that of the task, and is deleted in any case.
    """
    partial = path.with_name(f".{path.name}.partial")
    digest = hashlib.sha256()
    try:
        with open(partial, "wb") as file:

            def take(chunk: bytes) -> None:
                digest.update(chunk)
                file.write(chunk)
                advance(len(chunk))

            yield take
        if task.archive_sha256 and digest.hexdigest() != task.archive_sha256:
            raise DownloadFailed("What came is not what was written: try again.")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
