"""``inference_store.inference`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from inference_store import connection, pagination
from inference_store import inference as blocking
from inference_store.binding import awaitable
from inference_store.models import Inference, NewGetInferencesRequest

filter_inferences = awaitable(blocking.filter_inferences)
list_inferences = awaitable(blocking.list_inferences)
count_inferences = awaitable(blocking.count_inferences)
get_inference = awaitable(blocking.get_inference)
create_inference = awaitable(blocking.create_inference)
create_inference_from_upload = awaitable(blocking.create_inference_from_upload)
create_inference_storage_request = awaitable(blocking.create_inference_storage_request)
create_inferences = awaitable(blocking.create_inferences)
delete_inference = awaitable(blocking.delete_inference)
bulk_delete_inferences = awaitable(blocking.bulk_delete_inferences)


def iter_inferences(
    model_id: str,
    request_body: NewGetInferencesRequest | None = None,
    page_size: int = 500,
    *,
    progress: bool = False,
    fields: Sequence[str] = (),
) -> AsyncIterator[Inference]:
    """Return an async iterator over all inferences that match.

    Use it with ``async for``. Parameters are those of
    ``inference_store.inference.iter_inferences``.
    """
    return pagination.walk_async(
        connection.connected_async(),
        model_id,
        request_body,
        page_size,
        progress,
        fields,
    )
