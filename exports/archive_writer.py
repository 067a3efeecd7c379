"""Carry out export tasks: fix the set of members, write the archive, publish it.

(1) Claim the task. (2) Fix the set (``member_sets``). (3) Stream the members to an object
under a key of this attempt's own, the manifest last; records removed meanwhile are listed as
deleted. (4) Close the object: checked, synced, renamed, or the upload completed. (5) One
statement gives the task its archive and completes it. After a crash before (5) the next
attempt starts over under another key, and ``cleanup`` deletes the old object.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from exports import manifest, telemetry
from exports.archives import KINDS
from exports.export_report import Receipt
from exports.formats import FORMATS, Options
from exports.member_sets import MemberSet
from exports.models import ArchiveTask
from istore.blobs.sinks import HashedSink, storing
from istore.db.clock import now
from istore.failpoints import failpoint
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import Failed

FULL = (errno.ENOSPC, errno.EDQUOT)


class StoreUnavailable(Exception):
    """The object store refused or did not answer; a retry may succeed."""


def carry_out(task: ArchiveTask) -> None:
    """Write the archive of the task. It does nothing if another worker holds the task."""
    if not task.claim():
        return
    members = task.members()
    failpoint("archiving.claimed")
    with task.recording_outcome(), _told_plainly():
        task.record(progress_count=0, done_when_claimed=0, receipt={})
        if task.fixed_at is None:
            members.fix(task)
        failpoint("archiving.set_fixed")
        _write(task, members)


def _write(task: ArchiveTask, members: MemberSet[ArchiveTask]) -> None:
    key = f"{task.prefix}/export-{task.attempt}.{task.container}"
    with storing(key) as sink:
        receipt = _fill(task, members, sink)
        failpoint("archiving.closing")
    failpoint("archiving.stored")
    task.complete(
        progress_count=receipt.passed,
        receipt=receipt.to_json(),
        archive_key=key,
        archive_size=sink.size,
        archive_sha256=sink.sha256,
        archive_expires_at=now() + timedelta(hours=settings.ISTORE_EXPORT_HOURS),
    )
    telemetry.rows.add(telemetry.ARCHIVE, by=receipt.passed)
    telemetry.written_bytes.add(telemetry.ARCHIVE, by=sink.size)
    failpoint("archiving.completed")


def _fill(
    task: ArchiveTask, members: MemberSet[ArchiveTask], sink: HashedSink
) -> Receipt:
    """Write every member, then the manifest; return the report on the members."""
    assert task.fixed_at is not None  # ``carry_out`` has fixed the set
    archive = KINDS[task.container](sink, task.fixed_at)
    try:
        # ``record`` and not ``advance``: a later attempt starts over, so this is no progress
        # that should reset the count of attempts.
        keeper = LeaseKeeper(task, lambda: {"progress_count": receipt.passed})
        receipt = Receipt(task.expected_count, archive.scratch(), keeper.renew_if_due)
        sink.on_progress = receipt.tick
        members.warn(task, receipt)
        wanted = FORMATS[task.format]
        options = Options.read(task.options)
        writer = wanted(members.model(task), archive, receipt, options)
        writer.begin()
        for batch in members.batches(task):
            writer.add_batch(batch)
            failpoint("archiving.batch_written")
        writer.finish()
        failpoint("archiving.members_written")
        if receipt.passed != receipt.expected:
            raise RuntimeError(
                f"{receipt.passed} of {receipt.expected} members had their turn."
            )
        manifest.add(archive, task, members.facts(task), receipt, wanted.version)
        receipt.manifest_at = (archive.content_at, archive.content_size)
        failpoint("archiving.manifest_written")
        archive.finish()
        return receipt
    finally:
        archive.close()


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn errors of the storage in the block into the reasons that a task shows."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Failed("storage-full: there is no room for the archive.") from error
        raise
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(str(error)) from error
