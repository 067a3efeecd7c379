"""Which files of the lake a backup needs: those that the catalogue in its dump names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.conf import settings
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import StaticTable, Table

from exports.lake import tables, warehouse
from exports.lake.catalog import FILE_IO, SCHEMA, open_catalog
from exports.lake.models import LakeTable
from istore.backup.hooks import Read

# A statement that is read before the first table is made must not name the catalogue's.
IS_THERE = f"SELECT to_regclass('{SCHEMA}.iceberg_tables')::text"
LOCATIONS = f"SELECT metadata_location FROM {SCHEMA}.iceberg_tables"


def keys(read: Read) -> Iterator[str]:
    """Yield the keys of all files that the tables need, as ``read`` sees the catalogue.

    Keys of files that are missing are among them; what those name is not known. A REST catalogue
    is not in the store's database: its tables are taken as they are now.
    """
    if settings.ISTORE_LAKE_CATALOG_URL:
        for row in LakeTable.objects.present().order_by("pk"):
            if table := tables.load(open_catalog(), row):
                yield from _keys_of(table)
    elif any(read(IS_THERE)):
        for location in read(LOCATIONS):
            yield warehouse.key_of(location)
            with suppress(FileNotFoundError):
                yield from _keys_of(_read_table(location))


def _read_table(location: str) -> Table:
    return StaticTable.from_metadata(location, {"py-io-impl": FILE_IO})


def _keys_of(table: Table) -> Iterator[str]:
    seen = set[str]()
    for snapshot in table.snapshots():
        yield warehouse.key_of(snapshot.manifest_list)
        with suppress(FileNotFoundError):
            for manifest in snapshot.manifests(table.io):
                if manifest.manifest_path not in seen:
                    seen.add(manifest.manifest_path)
                    yield from _keys_in(table, manifest)


def _keys_in(table: Table, manifest: ManifestFile) -> Iterator[str]:
    yield warehouse.key_of(manifest.manifest_path)
    with suppress(FileNotFoundError):
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield warehouse.key_of(entry.data_file.file_path)
