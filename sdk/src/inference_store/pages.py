"""Pages of a list, and the cursor that leads to the next page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

import httpx2
from pydantic import TypeAdapter

from inference_store.requests import M, Reader, json_object

T = TypeVar("T")
MOMENT: TypeAdapter[datetime | None] = TypeAdapter(datetime | None)


class Page(list[T]):
    """A list of results with the cursor of the next page.

    ``next`` is the cursor of the page after this one (``Pagination(cursor=page.next)``). It is
    None on the last page. ``searched_until`` is set where a search ended early: the page has
    fewer results than asked for, and ``next`` goes on behind that time.
    """

    def __init__(
        self,
        results: Iterable[T] = (),
        next: str | None = None,
        searched_until: datetime | None = None,
    ) -> None:
        super().__init__(results)
        self.next = next
        self.searched_until = searched_until


def page_of(model: type[M]) -> Reader[Page[M]]:
    """Return a function that reads ``{"results": […], "next": …}`` as a page of the model."""

    def read(response: httpx2.Response) -> Page[M]:
        page = json_object(response)
        results = [model.model_validate(item) for item in page["results"]]
        until = MOMENT.validate_python(page.get("searched_until"))
        return Page(results, page.get("next"), until)

    return read
