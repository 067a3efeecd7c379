"""Drop a table of the lake with its files.

The mark on its row is committed first, and from then on nobody sees the table. Then the catalogue
forgets it, its files are deleted, and its row goes last. A process that is killed in between has
left the mark, and the hourly upkeep or an erasure goes on from there.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from celery import current_app
from django.db import transaction
from django.db.models.functions import Now

from exports.lake.models import LakeTable
from istore.blobs import moves
from istore.errors import Conflict
from istore.failpoints import failpoint
from istore.models import AuditEntry

TASK = "exports.tasks.drop_lake_tables"

log = logging.getLogger(__name__)


@transaction.atomic
def drop(actor: object, row: LakeTable) -> None:
    """Drop a table that no schedule writes any more. Raises ``Conflict`` for another."""
    held = LakeTable.objects.select_for_update(of=["self"]).get(pk=row.pk)
    if held.dropped_at is not None:  # by another, a moment ago
        return
    if held.schedule_id is not None:
        message = "A schedule writes this table: delete the schedule with table=drop."
        raise Conflict("lake-table-in-use", message)
    mark(held)
    AuditEntry.write(actor, "lake_table.drop", str(row), row.model.project)


def mark(row: LakeTable) -> None:
    """Mark the table as dropped. Its files go after the commit of the transaction."""
    LakeTable.objects.filter(pk=row.pk, dropped_at=None).update(dropped_at=Now())
    transaction.on_commit(_notify)


def _notify() -> None:
    try:
        current_app.send_task(TASK)
    except Exception:
        log.warning("dropped tables wait for the upkeep", exc_info=True)


def finish_all() -> None:
    """Delete the files of every dropped table, unless a backup is made that may need them."""
    for row in LakeTable.objects.exclude(dropped_at=None).order_by("pk"):
        try:
            # No backup may begin between the catalogue and the last file.
            with moves.BACKUP_LOCK.try_hold() as is_free:
                if not is_free:
                    return
                finish(row)
        except Exception:
            log.exception("the files of the dropped table %s could not be deleted", row)


def finish(row: LakeTable) -> list[str]:
    """Delete what is left of a dropped table; return the keys of the files."""
    # Late, as in ``doors``: they take a second of each start.
    from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

    from exports.lake import tables, warehouse

    with tables.writing(row) as catalog:
        with suppress(NoSuchTableError, NoSuchNamespaceError):
            catalog.drop_table(row.identifier)
        failpoint("lake.dropped")
        gone = warehouse.delete(each.key for each in list(warehouse.walk_table(row)))
        LakeTable.objects.filter(pk=row.pk).delete()
    return gone
