"""``inference_store.metadata`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import metadata as blocking
from inference_store.binding import awaitable
from inference_store.metadata import (
    form_values_for_in_operator,
    get_data_hash,
    map_to_inference_store_metadata,
)

__all__ = [
    "bulk_add_metadata",
    "create_metadata",
    "delete_metadata",
    "form_values_for_in_operator",
    "get_data_hash",
    "get_metadata",
    "get_metadata_key_type_counts",
    "get_metadata_statistics",
    "map_to_inference_store_metadata",
    "replace_metadata",
]

create_metadata = awaitable(blocking.create_metadata)
replace_metadata = awaitable(blocking.replace_metadata)
bulk_add_metadata = awaitable(blocking.bulk_add_metadata)
get_metadata = awaitable(blocking.get_metadata)
delete_metadata = awaitable(blocking.delete_metadata)
get_metadata_key_type_counts = awaitable(blocking.get_metadata_key_type_counts)
get_metadata_statistics = awaitable(blocking.get_metadata_statistics)
