"""Fetch all pages of a query, one after the other by cursor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from inference_store.pages import Page
from inference_store.progress import Bar
from inference_store.requests import Plan
from inference_store.sender import AsyncSender, Sender

T = TypeVar("T")


@dataclass(frozen=True)
class Pages(Generic[T]):
    """All pages of a query: ``page(cursor)`` builds the call of one, the first without cursor.

    ``count`` is the call that returns the total for a progress bar; without it none is shown.
    """

    page: Callable[[str | None], Plan[Page[T]]]
    count: Plan[int] | None = None


def walk(sender: Sender, pages: Pages[T]) -> Iterator[T]:
    """Yield the items of all pages, by a blocking client."""
    total = None if pages.count is None else sender.run(pages.count)
    with Bar(pages.count is not None, total) as bar:
        cursor = None
        while True:
            page = sender.run(pages.page(cursor))
            for item in page:
                yield item
                bar.advance()
            cursor = page.next
            if cursor is None:
                return


async def walk_async(sender: AsyncSender, pages: Pages[T]) -> AsyncIterator[T]:
    """Yield the items of all pages, by an asynchronous client."""
    total: int | None = None
    if pages.count is not None:
        total = await sender.run(pages.count)
    with Bar(pages.count is not None, total) as bar:
        cursor = None
        while True:
            page = await sender.run(pages.page(cursor))
            for item in page:
                yield item
                bar.advance()
            cursor = page.next
            if cursor is None:
                return
