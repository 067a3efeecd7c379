"""Archives onto disk: whole and as they were written, or not there."""

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
    """The archive did not arrive, or not as it was written."""


def download(
    task: ExportTask | DatasetArchive,
    path: Path,
    advance: Callable[[int], None] = lambda count: None,
    transport: httpx2.BaseTransport | None = None,
) -> Path:
    """Fetch the archive of a complete task, and check it.

    Parameters:
        task: with a fresh ``presigned_url``.
        path: of the file to be; what is there is replaced once the archive is whole.
        advance: is called with the number of each chunk's bytes.
        transport: for tests.

    Returns:
        The path.

    Raises:
        DownloadFailed: the task has no archive, or what came is not what was written.
    """
    link = link_of(task)
    with (
        arriving(task, path, advance) as take,
        httpx2.Client(timeout=TIMEOUT_SECONDS, transport=transport) as client,
        client.stream("GET", link) as response,
    ):
        check(response)
        for chunk in response.iter_bytes():
            take(chunk)
    return path


def link_of(task: ExportTask | DatasetArchive) -> str:
    """The archive's URL. It is its own credential, so no token goes along."""
    if not task.presigned_url:
        raise DownloadFailed(f"The export {task.id} has no archive ({task.state}).")
    return task.presigned_url


def check(response: httpx2.Response) -> None:
    """Raises DownloadFailed unless the archive follows."""
    if response.status_code != 200:
        raise DownloadFailed(
            f"The archive's link answered {response.status_code}.",
            status=response.status_code,
        )


@contextmanager
def arriving(
    task: ExportTask | DatasetArchive, path: Path, advance: Callable[[int], None]
) -> Iterator[Callable[[bytes], None]]:
    """What takes the chunks; the file is there after the last, if it is as written."""
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
