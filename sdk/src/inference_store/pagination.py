"""Fetch all pages of a query, one after the other by cursor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from inference_store.models import Inference, NewGetInferencesRequest
from inference_store.progress import Bar

if TYPE_CHECKING:
    from inference_store.aio.client import AsyncClient
    from inference_store.client import Client


def walk(
    client: Client,
    model_id: str,
    request_body: NewGetInferencesRequest | None,
    page_size: int,
    progress: bool,
    fields: Sequence[str] = (),
) -> Iterator[Inference]:
    """Yield every inference that matches, by a blocking client."""
    request = _first(request_body, page_size).with_fields(fields)
    store = client.inference
    total = store.count_inferences(model_id, request) if progress else None
    with Bar(progress, total) as bar:
        while True:
            page = store.filter_inferences(model_id, request)
            for inference in page:
                yield inference
                bar.advance()
            if page.next is None:
                return
            request = request.paged(cursor=page.next, offset=None)


async def walk_async(
    client: AsyncClient,
    model_id: str,
    request_body: NewGetInferencesRequest | None,
    page_size: int,
    progress: bool,
    fields: Sequence[str] = (),
) -> AsyncIterator[Inference]:
    """Yield every inference that matches, by an asynchronous client."""
    request = _first(request_body, page_size).with_fields(fields)
    store = client.inference
    total = await store.count_inferences(model_id, request) if progress else None
    with Bar(progress, total) as bar:
        while True:
            page = await store.filter_inferences(model_id, request)
            for inference in page:
                yield inference
                bar.advance()
            if page.next is None:
                return
            request = request.paged(cursor=page.next, offset=None)


def _first(
    request_body: NewGetInferencesRequest | None, page_size: int
) -> NewGetInferencesRequest:
    return (request_body or NewGetInferencesRequest()).paged(limit=page_size)
