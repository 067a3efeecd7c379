"""``inference_store.downloading`` for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2

from inference_store.downloading import (
    TIMEOUT_SECONDS,
    DownloadFailed,
    archive_url,
    check_response,
    receive_archive,
)
from inference_store.models import DatasetArchive, ExportTask

__all__ = ["DownloadFailed", "download"]


async def download(
    task: ExportTask | DatasetArchive,
    path: Path,
    advance: Callable[[int], None] = lambda count: None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Path:
    """Download the archive of a complete task, check it, and return its path.

    Parameters:
        task: the task, fetched just now: its ``presigned_url`` expires.
        path: path of the file. A file that is there is replaced once the archive is whole.
        advance: called after each chunk with the number of its bytes.
        transport: an asynchronous ``httpx2`` transport, for tests.

    Returns:
        The path.

    Raises:
        DownloadFailed: the task has no archive, or its bytes are not those written.
    """
    link = archive_url(task)
    with receive_archive(task, path, advance) as take:
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, transport=transport) as client,
            client.stream("GET", link) as response,
        ):
            check_response(response)
            async for chunk in response.aiter_bytes():
                take(chunk)
    return path
