"""Carry out export tasks: fix the set, write the archive, publish it.

(1) Claim. (2) Write the chosen row ids to the task, in one snapshot. (3) Stream members to
an object under a name of this attempt's own, the manifest last; who was removed meanwhile
is listed as deleted. (4) Close it: checked, synced, renamed or the upload completed. (5)
One statement gives the task its archive and makes it complete. A crash before (5) leaves
the task to the next attempt, which starts over under another name; the old one is
collected by ``expiry``.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.db import connection
from rest_framework.exceptions import ValidationError

from exports import manifest
from exports.api.selections import SelectionSerializer, asked_of
from exports.archives import KINDS
from exports.formats import FORMATS, Options
from exports.members import Batch
from exports.models import ExportPart, ExportTask
from exports.receipts import Receipt
from exports.selections import Selection, snapshot
from exports.sinks import HashedSink, storing
from istore.clock import now
from istore.failpoints import failpoint
from istore.tracking import Failed

PART_SIZE = 10_000  # row ids in one row of the set
BATCH_SIZE = 200  # members that are read together
REPORT_SECONDS = 1.0
FULL = (errno.ENOSPC, errno.EDQUOT)

FIX = f"""
INSERT INTO {ExportPart._meta.db_table} (task_id, number, row_ids, inference_ids)
SELECT %s, number, array_agg(id ORDER BY id), array_agg(inference_id ORDER BY id)
FROM (SELECT id, inference_id, (row_number() OVER (ORDER BY id) - 1) / %s AS number
      FROM ({{chosen}} LIMIT %s) AS chosen) AS numbered
GROUP BY number
"""
COUNT = f"""
SELECT coalesce(sum(cardinality(row_ids)), 0) FROM {ExportPart._meta.db_table}
WHERE task_id = %s
"""


class StoreUnavailable(Exception):
    """The object store refused or did not answer; another attempt may succeed."""


def carry_out(task: ExportTask) -> None:
    """Write the archive of the task. Nothing happens if another worker has it."""
    if not task.claim():
        return
    failpoint("archiving.claimed")
    with task.recording_outcome(), _told_plainly():
        task.record(progress_count=0, done_when_claimed=0, receipt={})
        if task.fixed_at is None:
            fix_set(task)
        failpoint("archiving.set_fixed")
        _write(task)


def fix_set(task: ExportTask) -> None:
    """Write the chosen row ids to the task, all as one snapshot shows them."""
    most = settings.ISTORE_EXPORT_MAX
    selection = _selection(task)
    with snapshot(), connection.cursor() as cursor:
        chosen, values = selection.statement(task.model)
        cursor.execute(
            FIX.format(chosen=chosen), [task.pk, PART_SIZE, *values, most + 1]
        )
        cursor.execute(COUNT, [task.pk])
        (count,) = cursor.fetchone()
        if count > most:
            raise Failed(f"More than {most:,} inferences are chosen; go in parts.")
        asked = task.selection
        if unknown := selection.unknown(task.model):
            asked = {**asked, "unknown_inference_ids": unknown}
        task.record(expected_count=count, fixed_at=now(), selection=asked)


def _selection(task: ExportTask) -> Selection:
    try:
        return SelectionSerializer.parse(asked_of(task.selection))
    except ValidationError as error:
        raise Failed(f"The selection cannot be read: {error}") from None


def _write(task: ExportTask) -> None:
    key = f"{task.prefix}/export-{task.attempt}.{task.container}"
    with storing(key) as sink:
        receipt = _fill(task, sink)
        failpoint("archiving.closing")
    failpoint("archiving.stored")
    task.complete(
        progress_count=receipt.passed,
        receipt={**receipt.told(), "first_skips": receipt.first_skips},
        archive_key=key,
        archive_size=sink.size,
        archive_sha256=sink.sha256,
        archive_expires_at=now() + timedelta(hours=settings.ISTORE_EXPORT_HOURS),
    )
    failpoint("archiving.completed")


def _fill(task: ExportTask, sink: HashedSink) -> Receipt:
    """Write every member, then the manifest; returns what became of them."""
    archive = KINDS[task.container](sink, task.fixed_at)
    try:
        reporter = Reporter(task)
        receipt = Receipt(task.expected_count, archive.scratch(), reporter.tick)
        if unknown := task.selection.get("unknown_inference_ids"):
            receipt.warn("unknown-included", len(unknown))
        wanted = FORMATS[task.format]
        writer = wanted(task.model, archive, receipt, Options.read(task.options))
        writer.begin()
        for batch in batches(task):
            writer.add_batch(batch)
            failpoint("archiving.batch_written")
        writer.finish()
        failpoint("archiving.members_written")
        if receipt.passed != receipt.expected:
            raise RuntimeError(
                f"{receipt.passed} of {receipt.expected} members had their turn."
            )
        manifest.add(archive, task, receipt, wanted.version)
        failpoint("archiving.manifest_written")
        archive.finish()
        return receipt
    finally:
        archive.close()


def batches(task: ExportTask) -> Iterator[Batch]:
    """The fixed set in the order of time, a batch at a time."""
    number = 1
    for part in task.parts.order_by("number").iterator(chunk_size=1):
        for start in range(0, len(part.row_ids), BATCH_SIZE):
            here = slice(start, start + BATCH_SIZE)
            yield Batch(
                task.model, number, part.row_ids[here], part.inference_ids[here]
            )
            number += len(part.row_ids[here])


class Reporter:
    """Writes progress, and so renews the lease, every so often."""

    def __init__(self, task: ExportTask) -> None:
        self.task = task
        self.next_at = time.monotonic() + REPORT_SECONDS

    def tick(self, receipt: Receipt) -> None:
        # Not "advance": a later attempt starts over, so this one has won nothing yet.
        if time.monotonic() >= self.next_at:
            self.task.record(progress_count=receipt.passed)
            self.next_at = time.monotonic() + REPORT_SECONDS


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Failures of storage, as the task is to tell them."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Failed("storage-full: there is no room for the archive.") from error
        raise
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(str(error)) from error
