"""Entries of the stream, checked: events of known models whose blobs lie in their place."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from inferences.models import OUTSIDE_ID, RegisteredModel
from ingest.events import InferenceEvent
from ingest.refusals import NotYet, Reason, Refused
from ingest.stream import Entry
from istore import blobs

MODELS_REMEMBERED_SECONDS = 1.0
# <project key>/<model key>/<yyyy>/<mm>/<dd>/<hh>/<uuid>/<kind>
PLACE = re.compile(
    r"(?P<owner>[0-9]+/[0-9]+)/[0-9]{4}(/[0-9]{2}){3}/[0-9a-f-]{36}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event whose form is good, and the model that was asked."""

    entry: Entry
    event: InferenceEvent
    model: RegisteredModel

    @property
    def prefix(self) -> str:
        """Where its blobs lie: what tells this copy of an inference from another."""
        return self.event.metadata_storage_key.rpartition("/")[0]

    @property
    def blob_keys(self) -> list[str]:
        """The marker last: while it is there, the others are looked for."""
        event = self.event
        return [
            event.data_storage_key,
            event.inference_storage_key,
            event.metadata_storage_key,
        ]

    @property
    def streamed_at(self) -> datetime:
        """When the stream took the entry, by the stream's clock."""
        milliseconds = int(self.entry.id.partition("-")[0])
        return datetime.fromtimestamp(milliseconds / 1000, UTC)


class Models:
    """Registered models by their outside ids, remembered for a second."""

    def __init__(self) -> None:
        self._known: dict[str, RegisteredModel] = {}
        self._read_at = 0.0

    def by_id(self, model_ids: Iterable[str]) -> dict[str, RegisteredModel]:
        if time.monotonic() - self._read_at > MODELS_REMEMBERED_SECONDS:
            self._known.clear()
            self._read_at = time.monotonic()
        if missing := set(model_ids) - self._known.keys():
            found = RegisteredModel.objects.filter(model_id__in=missing)
            self._known |= {model.model_id: model for model in found}
        return self._known


def read_event(entry: Entry) -> InferenceEvent:
    """The event of an entry. Raises Refused."""
    try:
        event = InferenceEvent.from_json(entry.payload)
    except ValueError as error:
        raise Refused(Reason.MALFORMED_EVENT, str(error)) from None
    for value in (event.model_id, event.inference_id):
        if not OUTSIDE_ID.regex.match(value):
            raise Refused(Reason.MALFORMED_EVENT, f"{value!r:.60} is not an id.")
    return event


def arrival(
    entry: Entry, event: InferenceEvent, models: dict[str, RegisteredModel]
) -> Arrival:
    """The event with its model. Raises Refused, or NotYet while nobody knows the model."""
    model = models.get(event.model_id)
    if model is None:
        raise NotYet(
            Reason.UNKNOWN_MODEL, f"No model is registered as {event.model_id!r:.300}."
        )
    prefix = event.metadata_storage_key.rpartition("/")[0]
    found = PLACE.fullmatch(prefix)
    if not found or found["owner"] != f"{model.project_id}/{model.pk}":
        raise Refused(Reason.FOREIGN_KEY, f"{prefix!r:.300} is not of this model.")
    named = (
        event.data_storage_key,
        event.inference_storage_key,
        event.metadata_storage_key,
    )
    for key, kind in zip(named, KINDS, strict=True):
        if key != f"{prefix}/{kind}":
            raise Refused(Reason.FOREIGN_KEY, f"{key!r:.300} is not the {kind}.")
    return Arrival(entry, event, model)


KINDS = (blobs.INPUT, blobs.ANSWER, blobs.METADATA)
