"""Tasks for files of ground truth that are too large for one request: a worker joins them.

(1) The file is staged under a grant, and the task's row is written: the 202 promises that it
will be joined, or that the task says why not. (2) Claim. (3) Read and join it, as a request
does with a smaller file, while one thread reports progress and renews the lease. (4) Write
the counts and the end, and delete the file. After a crash the task is done again from its
start: rows that are the same already change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import IO

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction

from inferences.columnar import parquet_files
from inferences.ground_truth.annotations import FORMS as ANNOTATIONS
from inferences.ground_truth.files import (
    LONGEST,
    Options,
    Rows,
    rows_of,
)
from inferences.ground_truth.joining import Joined, join
from inferences.models import RegisteredModel, UploadGrant
from inferences.models.ground_truth import TruthFile
from istore import blobs
from istore.db import clock
from istore.errors import TooLarge
from istore.failpoints import failpoint
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import Failed, TaskState
from istore.uuids import uuid7

KEPT = timedelta(days=7)  # then the grant expires, even if no worker came
CHUNK = 2**20
ANNOTATION_BYTES = 400  # least size of a picture's entry, to estimate rows from bytes
AT_ONCE_BYTES = (
    16 * 2**20
)  # of texts and numbers that one request may decode from a Parquet file
AT_ONCE_SECONDS = 10  # of processor time to measure it, most files take a part of one
VALUES_A_ROW = 50  # values beyond which a row counts as several
GRANT = "actuals"


def count_rows(file: IO[bytes], form: str) -> int:
    """Return the largest number of rows that a file may have, without decoding them all here.

    Parquet states its number: a million equal rows take nine kilobytes. A row whose lists
    have many values counts as several, and a file that decodes to much data counts as more
    rows than a request joins. A smaller number is of a file that was safe to read as a whole.
    Raises ``StoreError`` for a file that is too large.
    """
    if form in ANNOTATIONS:
        # Estimated from the size, because a JSON document may be one line.
        file.seek(0, 2)
        rows = file.tell() // ANNOTATION_BYTES
        file.seek(0)
    else:
        rows = _rows_of_parquet(file) if form == "parquet" else _lines(file)
    if rows > settings.ISTORE_TRUTH_FILE_ROWS:
        detail = f"A file has at most {settings.ISTORE_TRUTH_FILE_ROWS} rows."
        raise TooLarge("too-many-rows", detail)
    return rows


def _lines(file: IO[bytes]) -> int:
    """Return the number of lines, or of objects if the file starts as a JSON list."""
    count = items = 0
    head = last = b""
    while chunk := file.read(CHUNK):
        count += max(chunk.count(b"\n"), chunk.count(b"\r"))
        items += chunk.count(b"{")
        head, last = head or chunk, chunk[-1:]
    file.seek(0)
    # A JSON list may be one line, so its objects are counted.
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return max(count, items)
    return count if last in (b"\n", b"\r") else count + 1


def _rows_of_parquet(file: IO[bytes]) -> int:
    most = settings.ISTORE_TRUTHS_AT_ONCE
    found = parquet_files.measure(
        file,
        rows=most,
        values=most * VALUES_A_ROW,
        size=AT_ONCE_BYTES,
        longest=LONGEST,
        seconds=AT_ONCE_SECONDS,
    )
    if found.bytes > parquet_files.UNPACKED_MAX_BYTES:
        raise parquet_files.too_large()
    rows = max(found.rows, found.values // VALUES_A_ROW)
    return max(rows, most + 1) if found.bytes > AT_ONCE_BYTES else rows


def _check_parquet(file: IO[bytes]) -> None:
    """Measure the whole file in a child process before this one reads it. Raises ``StoreError``."""
    found = parquet_files.measure(file, longest=LONGEST)
    if found.bytes > parquet_files.UNPACKED_MAX_BYTES:
        raise parquet_files.too_large()


def keep_file(
    actor: object,
    model: RegisteredModel,
    file: IO[bytes],
    form: str,
    rows: int,
    options: Options,
) -> TruthFile:
    """Store the file durably and return the task that joins it."""
    key = f"uploads/{model.project_id}/{model.pk}/{uuid7()}/{GRANT}"
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    grant = model.upload_grants.create(
        kind=GRANT,
        storage_key=key,
        maximum_size=size,
        granted_to=str(actor)[:300],
        expires_at=clock.now() + KEPT,
    )
    try:
        default_storage.save(key, File(file, name=key))
    except BaseException:
        grant.delete()
        raise
    failpoint("ground_truth.file_kept")
    with transaction.atomic():
        task = TruthFile.objects.create(
            registered_model=model,
            created_by=str(actor)[:300],
            form=form,
            options=options.to_json(),
            size=size,
            storage_key=key,
            expected_count=rows,
        )
        task.audit(actor, "create")
        task.notify()
    return task


def carry_out(task: TruthFile) -> None:
    """Join the file of a task; nothing happens if another worker holds it."""
    if not task.claim():
        return
    failpoint("ground_truth.file_claimed")
    with task.recording_outcome():
        joined = _join(task)
        counts = {name: n for name, n in asdict(joined).items() if name != "refusals"}
        task.advance(
            progress_count=joined.actuals,
            expected_count=joined.actuals,
            counts=counts,
            refusals=[asdict(each) for each in joined.refusals],
        )
    if task.state in (TaskState.COMPLETE, TaskState.FAILED):
        remove_file(task)


def _join(task: TruthFile) -> Joined:
    model = task.registered_model
    try:
        # A thread reports, because the connection is busy while rows are copied.
        counter = RowCounter()
        keeper = LeaseKeeper(task, counter.progress)
        with (
            blobs.open_blob(task.storage_key) as file,
            keeper.in_background() as check,
        ):
            options = Options.from_json(task.options)
            if task.form == "parquet":
                _check_parquet(file)
            rows = rows_of(file, task.form, model, options)
            return join(task.created_by, model, counter.counted(rows, check))
    except FileNotFoundError:
        raise Failed("The file is gone: it waited too long for a worker.") from None


def remove_file(task: TruthFile) -> None:
    """Delete the object, then the grant that names it."""
    blobs.delete([task.storage_key])
    UploadGrant.objects.filter(storage_key=task.storage_key).delete()


class RowCounter:
    """The number of rows that were read so far: the progress of the task."""

    def __init__(self) -> None:
        self.read = 0

    def progress(self) -> dict[str, int]:
        """Return the fields of the task."""
        return {"progress_count": self.read}

    def counted(self, rows: Rows, check: Callable[[], None]) -> Rows:
        """Yield the rows and count them; call ``check`` before each, which may raise."""
        for row in rows:
            check()
            self.read += 1
            yield row


def recent_files(model: RegisteredModel) -> list[TruthFile]:
    """Return the latest fifty tasks of a model, the newest first; truth_file_by_model serves it."""
    return list(model.truth_files.order_by("-created_at")[:50])
