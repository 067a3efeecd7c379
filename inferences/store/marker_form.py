"""The form of commit markers. ``ingest.markers`` reads them.

In format 1 a marker is an object of its own and may repeat the answer as ``text``. In format 2
it is a member of a pack, directly before its answer, and names no place of its record: a pack
cannot hold its own place, and whoever reads a record knows where it was read.
"""

from __future__ import annotations

from typing import Any

FORMAT = 2
FORMATS = (1, FORMAT)
RECORD_KEYS = ("inference_storage_key", "metadata_storage_key")


def marker_in_pack(
    value: dict[str, Any], event: dict[str, Any], data_key: str
) -> dict[str, Any]:
    """Return a marker as it is in a pack, with its event and the place of its input."""
    kept = {name: each for name, each in event.items() if name not in RECORD_KEYS}
    return {**value, "format": FORMAT, "event": {**kept, "data_storage_key": data_key}}
