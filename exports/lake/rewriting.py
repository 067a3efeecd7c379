"""Replace data files of a table by others, and delete what no snapshot needs any more.

Whoever calls these holds the lock of the table (``tables.writing``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import zip_longest

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from exports.lake import warehouse
from exports.lake.data_files import (
    OpenFile,
    arrow_schema,
    batches_of,
    files_of,
    schema_in,
)
from exports.matching_rows import Matching
from istore.blobs import moves
from istore.failpoints import failpoint


def remove_rows(
    table: Table, going: Matching, needs: Sequence[str], within: Iterable[DataFile]
) -> int:
    """Write the files again without the rows that go, in one commit; return how many went.

    ``needs`` are the columns that ``going`` reads; files without one of those rows stay.
    """
    removed, gone, fresh = 0, list[DataFile](), list[DataFile]()
    for file in within:
        found = sum(
            pc.sum(going(batch)).as_py() or 0 for batch in batches_of(file, needs)
        )
        if not found:
            continue
        removed += found
        gone.append(file)
        if found < file.record_count:
            fresh.append(_without(table, file, going))
    replace(table, gone, fresh)
    return removed


def _without(table: Table, file: DataFile, going: Matching) -> DataFile:
    model_id, day = file.partition[0], file.partition[1]
    written = OpenFile(table.metadata, model_id, day, schema_in(file))
    try:
        for batch in batches_of(file):
            kept = batch.filter(pc.invert(going(batch)))
            written.write(kept.cast(written.schema))
        return written.store()
    finally:
        written.discard()


def merge(table: Table, files: Sequence[DataFile]) -> None:
    """Replace small files of one partition by one file, whose columns are the table's."""
    names = [field.name for field in table.schema().fields]
    schema = arrow_schema(table.metadata, names)
    model_id, day = files[0].partition[0], files[0].partition[1]
    written = OpenFile(table.metadata, model_id, day, schema)
    try:
        for file in files:
            for batch in batches_of(file):
                held = dict(zip(batch.schema.names, batch.columns, strict=True))
                arrays = [
                    held[f.name].cast(f.type)
                    if f.name in held
                    else pa.nulls(batch.num_rows, f.type)
                    for f in schema
                ]
                written.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
        replace(table, files, [written.store()])
    finally:
        written.discard()


def replace(table: Table, gone: Sequence[DataFile], fresh: Sequence[DataFile]) -> None:
    """Commit that these files stand for those; nothing happens without any that goes."""
    if not gone:
        return
    failpoint("lake.rewritten")
    with (
        table.transaction() as transaction,
        transaction.update_snapshot().overwrite() as snapshot,
    ):
        for file in gone:
            snapshot.delete_data_file(file)
        for file in fresh:
            snapshot.append_data_file(file)
    failpoint("lake.replaced")


def expire(table: Table, before: datetime | None = None) -> None:
    """Expire snapshots that are older, or all; the current one always stays."""
    current = table.metadata.current_snapshot_id
    limit = None if before is None else int(before.timestamp() * 1000)
    in_order = sorted(table.snapshots(), key=lambda each: each.timestamp_ms)
    # A snapshot was read until the next one came.
    old = [
        each.snapshot_id
        for each, following in zip_longest(in_order, in_order[1:])
        if each.snapshot_id != current
        and (
            limit is None or (following is not None and following.timestamp_ms < limit)
        )
    ]
    if old:
        table.maintenance.expire_snapshots().by_ids(old).commit()


def delete_leftovers(table: Table, before: datetime | None = None) -> list[str]:
    """Delete the objects that no snapshot names; return their keys.

    They are files of expired snapshots and of writers that broke off. Without ``before``, which
    spares younger ones for engines that are reading, all of them go.
    """
    table.refresh()
    # A backup that began before has dumped the catalogue, which names files that have expired
    # since. One that begins from now on dumps it as it is here.
    if before is not None and moves.BACKUP_LOCK.is_held():
        return []
    named = _list_live_keys(table)
    return warehouse.delete(
        stored.key
        for stored in list(warehouse.walk(table.location()))
        if stored.key not in named and (before is None or stored.modified_at < before)
    )


def _list_live_keys(table: Table) -> set[str]:
    """Return the keys of all objects of the table's metadata and snapshots."""
    found = {table.metadata_location}
    found |= {each.metadata_file for each in table.metadata.metadata_log}
    for snapshot in table.snapshots():
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            found.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            found |= {entry.data_file.file_path for entry in entries}
    return {warehouse.key_of(location) for location in found}


def purge(table: Table) -> list[str]:
    """Expire all snapshots but the current, and delete every file that it does not name."""
    table.refresh()
    expire(table)
    return delete_leftovers(table)


def all_files(table: Table) -> list[DataFile]:
    """Return the data files as they are now."""
    table.refresh()
    return files_of(table)
