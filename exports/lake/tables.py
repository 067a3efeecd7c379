"""Open and create tables, and hold the lock of those who write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform, IdentityTransform

from exports.lake import columns, warehouse
from exports.lake.catalog import open_catalog
from exports.lake.models import LakeTable
from istore.errors import Unavailable

LOCK_SECONDS = 600  # a chunk or a compaction takes minutes at most
PROPERTIES = {
    # A manifest that has the bounds of a text holds text of a record, which erasure would have to
    # find. The bounds of the time are enough to leave files out; Parquet has those of the rest.
    "write.metadata.metrics.default": "counts",
    "write.metadata.metrics.column.timestamp": "full",
    # A commit that lost a race must fail: the other writer has appended the same chunk.
    "commit.retry.num-retries": "0",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "write.parquet.compression-codec": "zstd",
}


@contextmanager
def writing(row: LakeTable) -> Iterator[Catalog]:
    """Hold the lock of the table in the block. Raises ``Unavailable`` when others keep it."""
    with row.lock.try_hold(LOCK_SECONDS) as is_ours:
        if not is_ours:
            message = f"The table {row} is being written; try again later."
            raise Unavailable("dependency-unavailable", message)
        yield open_catalog()


def load(catalog: Catalog, row: LakeTable) -> Table | None:
    """Return the table; None before its first row."""
    try:
        return catalog.load_table(row.identifier)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def create(catalog: Catalog, row: LakeTable, plan: columns.Plan) -> Table:
    """Create a table with the columns of the plan, with partitions by model and day."""
    with suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace((row.namespace,))
    schema = columns.schema_of(plan.new)
    ids = {field.name: field.field_id for field in schema.fields}
    spec = PartitionSpec(
        PartitionField(ids["model_id"], 1000, IdentityTransform(), "model_id"),
        PartitionField(ids["timestamp"], 1001, DayTransform(), "timestamp_day"),
    )
    return catalog.create_table(
        row.identifier,
        schema,
        location=warehouse.location_of(warehouse.folder_of(row)),
        partition_spec=spec,
        properties=PROPERTIES,
    )
