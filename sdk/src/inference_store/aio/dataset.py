"""``inference_store.dataset`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import dataset as blocking
from inference_store.binding import awaitable

list_datasets = awaitable(blocking.list_datasets)
create_dataset = awaitable(blocking.create_dataset)
get_dataset = awaitable(blocking.get_dataset)
change_dataset = awaitable(blocking.change_dataset)
delete_dataset = awaitable(blocking.delete_dataset)
add_to_dataset = awaitable(blocking.add_to_dataset)
get_addition = awaitable(blocking.get_addition)
list_entries = awaitable(blocking.list_entries)
remove_entries = awaitable(blocking.remove_entries)
publish_version = awaitable(blocking.publish_version)
list_versions = awaitable(blocking.list_versions)
get_version = awaitable(blocking.get_version)
compare_versions = awaitable(blocking.compare_versions)
create_archive = awaitable(blocking.create_archive)
get_archive = awaitable(blocking.get_archive)
