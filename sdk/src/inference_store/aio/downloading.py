"""``inference_store.downloading``, to be awaited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2

from inference_store.downloading import (
    TIMEOUT_SECONDS,
    DownloadFailed,
    arriving,
    check,
    link_of,
)
from inference_store.models import DatasetArchive, ExportTask

__all__ = ["DownloadFailed", "download"]


async def download(
    task: ExportTask | DatasetArchive,
    path: Path,
    advance: Callable[[int], None] = lambda count: None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Path:
    """Fetch the archive of a complete task, and check it; as the twin does.

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
    with arriving(task, path, advance) as take:
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, transport=transport) as client,
            client.stream("GET", link) as response,
        ):
            check(response)
            async for chunk in response.aiter_bytes():
                take(chunk)
    return path
