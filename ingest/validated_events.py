"""Validation of stream entries: events of known models, with storage keys of that model."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from inferences.models import RegisteredModel
from ingest.errors import Reason, Rejected, Retryable
from ingest.events import InferenceEvent
from ingest.stream import Entry
from istore import blobs
from istore.blobs import packs
from istore.outside_ids import is_outside_id

MODELS_REMEMBERED_SECONDS = 1.0  # how long a change of a model may go unnoticed
# <project key>/<model key>/<yyyy>/<mm>/<dd>/<hh>, and then <uuid>/<kind> for an object of its
# own, or <uuid>.<kind>#<offset>-<length> for a member of a pack.
HOUR = re.compile(
    r"(?P<hour>(?P<project>[0-9]{1,18})/(?P<model>[0-9]{1,9})/[0-9]{4}(/[0-9]{2}){3})/",
    re.ASCII,
)
UUID = re.compile(r"[0-9a-f-]{36}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ValidatedEvent:
    """An event of a valid form, its stream entry, and its model."""

    entry: Entry
    event: InferenceEvent
    model: RegisteredModel

    @property
    def copy_name(self) -> str:
        """What tells this copy of an inference from another: see ``blobs.copy_name``."""
        return blobs.copy_name(self.event.inference_storage_key)

    @property
    def is_packed(self) -> bool:
        """Whether its record is a member of a pack."""
        return packs.is_member(self.event.metadata_storage_key)

    @property
    def streamed_at(self) -> datetime:
        """When the entry was added to the stream, by the clock of Redis."""
        milliseconds = int(self.entry.id.partition("-")[0])
        return datetime.fromtimestamp(milliseconds / 1000, UTC)


class Models:
    """A cache of registered models by their primary keys, valid for a second.

    Two projects may have a model of the same id, and an event names the id alone. But its
    storage keys begin with the keys of project and model, in events of any age.
    """

    def __init__(self) -> None:
        self._known: dict[int, RegisteredModel] = {}
        self._read_at = 0.0

    def of(self, events: Iterable[InferenceEvent]) -> dict[int, RegisteredModel]:
        """Return the models of these events, by primary key; missing ones are left out."""
        if time.monotonic() - self._read_at > MODELS_REMEMBERED_SECONDS:
            self._known.clear()
            self._read_at = time.monotonic()
        places = (_place_of(event) for event in events)
        named = {int(place["model"]) for place in places if place}
        if missing := named - self._known.keys():
            self._known |= RegisteredModel.objects.in_bulk(missing)
        return self._known


def _place_of(event: InferenceEvent) -> re.Match[str] | None:
    return HOUR.match(event.metadata_storage_key)


def read_event(entry: Entry) -> InferenceEvent:
    """Return the parsed event of an entry. Raises ``Rejected``."""
    try:
        event = InferenceEvent.from_json(entry.payload)
    except ValueError as error:
        raise Rejected(Reason.MALFORMED_EVENT, str(error)) from None
    for value in (event.model_id, event.inference_id):
        if not is_outside_id(value):
            raise Rejected(Reason.MALFORMED_EVENT, f"{value!r:.60} is not an id.")
    return event


def validate(
    entry: Entry, event: InferenceEvent, models: dict[int, RegisteredModel]
) -> ValidatedEvent:
    """Return the event with its model.

    Raises ``Rejected``, or ``Retryable`` while no model of that id is registered.
    """
    place = _place_of(event)
    model = models.get(int(place["model"])) if place else None
    if place and model is None and not _is_registered(event.model_id):
        raise Retryable(
            Reason.UNKNOWN_MODEL, f"No model is registered as {event.model_id!r:.300}."
        )
    if (
        place is None
        or model is None
        or model.model_id != event.model_id
        or int(place["project"]) != model.project_id
    ):
        key = event.metadata_storage_key
        raise Rejected(Reason.FOREIGN_KEY, f"{key!r:.300} is not of this model.")
    _check_keys(event, place["hour"])
    return ValidatedEvent(entry, event, model)


def _check_keys(event: InferenceEvent, hour: str) -> None:
    """Raise ``Rejected`` unless the keys name the blobs of one inference of this hour."""
    if packs.is_member(event.metadata_storage_key):
        _check_members(event, hour)
        return
    folder = event.metadata_storage_key.rpartition("/")[0]
    if not UUID.fullmatch(folder.removeprefix(f"{hour}/")):
        raise Rejected(Reason.FOREIGN_KEY, f"{folder!r:.300} is no folder of blobs.")
    named = (
        event.data_storage_key,
        event.inference_storage_key,
        event.metadata_storage_key,
    )
    for key, kind in zip(named, KINDS, strict=True):
        if key != f"{folder}/{kind}":
            raise Rejected(Reason.FOREIGN_KEY, f"{key!r:.300} is not the {kind}.")


def _check_members(event: InferenceEvent, hour: str) -> None:
    """Raise ``Rejected`` unless marker and answer are one record, and the input of their hour."""
    if not packs.is_record(event.metadata_storage_key, event.inference_storage_key):
        key = event.inference_storage_key
        raise Rejected(Reason.FOREIGN_KEY, f"{key!r:.300} is not beside its marker.")
    for key, ending in (
        (event.metadata_storage_key, packs.RECORDS),
        (event.data_storage_key, packs.INPUTS),
    ):
        name = packs.pack_of(key).removeprefix(f"{hour}/")
        is_packed = packs.is_member(key) and name.endswith(f".{ending}")
        unique = name.removesuffix(f".{ending}" if is_packed else f"/{blobs.INPUT}")
        if not UUID.fullmatch(unique) or unique == name:
            raise Rejected(Reason.FOREIGN_KEY, f"{key!r:.300} is not in its hour.")


def _is_registered(model_id: str) -> bool:
    return RegisteredModel.objects.filter(model_id=model_id).exists()


KINDS = (blobs.INPUT, blobs.ANSWER, blobs.METADATA)
