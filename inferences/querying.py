"""One page of what was asked for."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from django.conf import settings

from inferences.filters import InferenceFilter, matching
from inferences.models import (
    Inference,
    InferenceKey,
    InferencePayload,
    RegisteredModel,
    SourceName,
)
from inferences.row_ids import LOWEST

CURSOR = struct.Struct(">q8s")  # a row id, and what the cursor belongs to


class BadCursor(ValueError):
    """A cursor that was not given for this question."""


@dataclass(frozen=True, slots=True)
class Pagination:
    direction: Literal["asc", "desc"] = "asc"
    limit: int = 50
    offset: int = 0
    cursor: str | None = None
    sort: Literal["created_at"] = "created_at"

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= settings.ISTORE_PAGE_MAX:
            raise ValueError(f"limit: from 1 to {settings.ISTORE_PAGE_MAX}.")
        if self.offset < 0:
            raise ValueError("offset: not below 0.")
        if self.cursor and self.offset:
            raise ValueError("cursor: it stands instead of an offset, not beside one.")


@dataclass(frozen=True, slots=True)
class Page:
    inferences: Sequence[Inference]
    next: str | None


@dataclass(frozen=True, slots=True)
class InferenceQuery:
    """What to find, in which order, and which part of it."""

    filters: InferenceFilter = field(default_factory=InferenceFilter)
    pagination: Pagination = field(default_factory=Pagination)
    presign: bool = False

    def page(self, model: RegisteredModel) -> Page:
        """The inferences of the page, each with its ``payload`` and ``source``.

        Costs three queries whatever its length. Raises ``BadCursor``.
        """
        wanted = self.pagination
        found = matching(model, self.filters)
        newest_first = wanted.direction == "desc"
        if newest_first:
            found = found.newest_first()
        else:
            found = found.oldest_first()
            if model.first_id > LOWEST:  # removed rows pile up below
                found = found.filter(id__gte=model.first_id)
        if wanted.cursor:
            beyond = "id__lt" if newest_first else "id__gt"
            found = found.filter(**{beyond: self._position(model, wanted.cursor)})
        # One more than asked for says whether there is a next page.
        rows = list(found[wanted.offset : wanted.offset + wanted.limit + 1])
        page, more = rows[: wanted.limit], rows[wanted.limit :]
        join_payloads(model, page)
        return Page(page, self._cursor(model, page[-1].id) if more else None)

    def _belongs_to(self, model: RegisteredModel) -> bytes:
        """What a cursor is bound to: the model, the filter and the order."""
        said = (model.pk, self.filters, self.pagination.sort, self.pagination.direction)
        return hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).digest()[:8]

    def _cursor(self, model: RegisteredModel, row_id: int) -> str:
        packed = CURSOR.pack(row_id, self._belongs_to(model))
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def _position(self, model: RegisteredModel, cursor: str) -> int:
        """The id the cursor stands on: a place in time, however the table grows."""
        try:
            packed = base64.b64decode(cursor + "==", altchars=b"-_", validate=True)
            row_id, belongs_to = CURSOR.unpack(packed)
        except (ValueError, struct.error):
            raise BadCursor("This is not a cursor of this store.") from None
        if belongs_to != self._belongs_to(model):
            raise BadCursor("This cursor belongs to another filter or order.")
        return row_id


def join_payloads(model: RegisteredModel, page: Sequence[Inference]) -> None:
    """Give each inference its ``payload``: the cold rows are read for one page only."""
    rows = InferencePayload.objects.beside(model)
    payloads = {row.id: row for row in rows.filter(id__in=[each.id for each in page])}
    names = SourceName.objects.in_bulk({each.source_id for each in page} - {None})
    for inference in page:
        inference.payload = payloads[inference.id]
        inference.registered_model = model
        if inference.source_id:
            inference.source = names[inference.source_id]


def find_inference(model: RegisteredModel, inference_id: str) -> Inference | None:
    """The live inference with its payload, or None."""
    keys = InferenceKey.objects.filter(registered_model=model, removed_at=None)
    row_id = keys.filter(inference_id=inference_id).values_list("row_id", flat=True)
    found = list(model.inferences.live().filter(id__in=list(row_id)))
    join_payloads(model, found)
    return found[0] if found else None
