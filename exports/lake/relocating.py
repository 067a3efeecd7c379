"""Write the metadata of a table again when the home, or the bucket, is another than it says.

The store itself finds the files wherever they are (``warehouse.key_of``). Other engines take the
locations as they are written. Data files stay: manifests, their list and the table's metadata are
written beside the old ones, and one statement makes the catalogue name the new metadata. A process
that is killed before has left files that no snapshot names, and the next one begins again.
"""

from __future__ import annotations

from uuid import uuid4

from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.catalog.sql import IcebergTables
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    ManifestFile,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy import update

from exports.lake import warehouse
from exports.lake.catalog import StoreCatalog
from istore.failpoints import failpoint

PATH = 1  # of a data file's fields


def relocate(catalog: Catalog, table: Table) -> bool:
    """Make the table say where it is; return False if it does. Hold the lock of the table.

    Only its current snapshot stays: who reads an older one reads it at the old place. A REST
    catalogue, which is a service of its own, keeps what it has.
    """
    if warehouse.is_here(table.location()) or not isinstance(catalog, StoreCatalog):
        return False
    metadata = _moved(table.metadata, table.io)
    location = f"{metadata.location}/metadata/00000-{uuid4()}.metadata.json"
    MetastoreCatalog._write_metadata(metadata, table.io, location)
    failpoint("lake.relocated")
    namespace, name = table.name()
    statement = (
        update(IcebergTables)
        .where(
            IcebergTables.catalog_name == catalog.name,
            IcebergTables.table_namespace == namespace,
            IcebergTables.table_name == name,
            IcebergTables.metadata_location == table.metadata_location,
        )
        .values(metadata_location=location, previous_metadata_location=None)
    )
    with catalog.engine.begin() as database:
        if not database.execute(statement).rowcount:
            raise CommitFailedException(f"{namespace}.{name} was committed meanwhile")
    table.refresh()
    return True


def _moved(metadata: TableMetadata, io: FileIO) -> TableMetadata:
    changes = {
        "location": _here(metadata.location),
        "snapshots": [],
        "snapshot_log": metadata.snapshot_log[-1:],
        "metadata_log": [],
    }
    if current := metadata.current_snapshot():
        changes["snapshots"] = [_moved_snapshot(metadata, current, io)]
    return metadata.model_copy(update=changes)


def _moved_snapshot(
    metadata: TableMetadata, snapshot: Snapshot, io: FileIO
) -> Snapshot:
    folder = f"{_here(metadata.location)}/metadata"
    location = f"{folder}/snap-{snapshot.snapshot_id}-{uuid4()}.avro"
    manifests = [
        _moved_manifest(metadata, each, io)
        for each in snapshot.manifests(io)
        if each.has_added_files() or each.has_existing_files()
    ]
    with write_manifest_list(
        metadata.format_version,
        io.new_output(location),
        snapshot.snapshot_id,
        None,
        snapshot.sequence_number,
        "deflate",
    ) as writer:
        writer.add_manifests(manifests)
    return snapshot.model_copy(
        update={"manifest_list": location, "parent_snapshot_id": None}
    )


def _moved_manifest(
    metadata: TableMetadata, manifest: ManifestFile, io: FileIO
) -> ManifestFile:
    with write_manifest(
        metadata.format_version,
        metadata.specs()[manifest.partition_spec_id],
        metadata.schema(),
        io.new_output(f"{_here(metadata.location)}/metadata/{uuid4()}-m0.avro"),
        manifest.added_snapshot_id or 0,  # required by the format
        "deflate",
    ) as writer:
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=True):
            entry.data_file[PATH] = _here(entry.data_file.file_path)
            writer.existing(entry)
    moved = writer.to_manifest_file()
    moved.sequence_number = manifest.sequence_number
    return moved


def _here(location: str) -> str:
    return warehouse.location_of(warehouse.key_of(location))
