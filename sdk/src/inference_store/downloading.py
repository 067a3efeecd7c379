"""Archives onto disk: whole and as they were written, or not there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx2

from inference_store.errors import InferenceStoreError
from inference_store.models import DatasetArchive, ExportTask

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
    if not task.presigned_url:
        raise DownloadFailed(f"The export {task.id} has no archive ({task.state}).")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            found = _fetch(task.presigned_url, file.write, advance, transport)
        if task.archive_sha256 and found != task.archive_sha256:
            raise DownloadFailed("What came is not what was written: try again.")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _fetch(
    url: str,
    write: Callable[[bytes], int],
    advance: Callable[[int], None],
    transport: httpx2.BaseTransport | None,
) -> str:
    digest = hashlib.sha256()
    # The link is its own credential, and may lead to another host: no token goes along.
    with (
        httpx2.Client(timeout=TIMEOUT_SECONDS, transport=transport) as client,
        client.stream("GET", url) as response,
    ):
        if response.status_code != 200:
            raise DownloadFailed(
                f"The archive's link answered {response.status_code}.",
                status=response.status_code,
            )
        for chunk in response.iter_bytes():
            digest.update(chunk)
            write(chunk)
            advance(len(chunk))
    return digest.hexdigest()
