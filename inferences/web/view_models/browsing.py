"""A page of inferences as cards or table rows, and the choices of its filter form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from inferences.models import (
    Inference,
    MetadataKey,
    MetadataKind,
    RegisteredModel,
    SourceName,
)
from inferences.search.filters.all_kinds import TERMS, WORDS
from inferences.store.notes import warnings_of
from inferences.web.view_models.answers import Answer, Found, answer_of
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.failed_calls import FailedCall, failed_call_of
from inferences.web.view_models.inputs import Look, looks
from inferences.web.view_models.matches import DetectionTest
from inferences.web.view_models.passages import Passage
from istore.db.compiled_queries import CompiledValues, parameter

DRAWN_IN_CARD = 80
KEYS_SHOWN = 3
OFFERED_MAX = 200
FORM_TYPES = {
    MetadataKind.STRING: "string",
    MetadataKind.INT: "int",
    MetadataKind.FLOAT: "float",
    MetadataKind.JSON_STRING: "json.string",
    MetadataKind.JSON_NUMBER: "json.float",
}

# Compiled once: every list runs them.
KEYS = CompiledValues(
    lambda: (
        MetadataKey.objects.filter(registered_model=parameter("model"))
        .order_by("id")
        .values_list("key", "kind")[:OFFERED_MAX]
    )
)
SOURCES = CompiledValues(
    lambda: (
        SourceName.objects.filter(registered_model=parameter("model"))
        .order_by("id")
        .values_list("name")[:OFFERED_MAX]
    )
)


@dataclass(frozen=True, slots=True)
class Card:
    """An inference as a card or table row: an ``Item`` of ``list_markup``."""

    inference: Inference
    look: Look
    answer: Answer
    metadata: list[tuple[str, str]]
    values: list[str | None]  # metadata, in the order of the keys shown
    passages: Sequence[Passage] = ()  # in which the query found its words
    failed: FailedCall | None = None

    @property
    def name(self) -> str:
        return self.inference.inference_id

    @property
    def moment(self) -> datetime:
        return self.inference.created_at

    @property
    def source(self) -> str:
        return self.inference.source.name if self.inference.source else ""

    @property
    def is_protected(self) -> bool:
        return self.inference.is_protected

    @property
    def badges(self) -> list[str]:
        return [f"failed: {self.failed.reason}"] if self.failed else []

    @property
    def truth(self) -> list[Found]:
        return []  # its page shows it

    @property
    def warnings(self) -> list[str]:
        return warnings_of(self.inference.payload.notes)

    @property
    def distance(self) -> float | None:
        """The distance of its embedding, in a list that is sorted by it."""
        return getattr(self.inference, "embedding_distance", None)


def cards(
    model: RegisteredModel,
    page: Sequence[Inference],
    shown_keys: Iterable[str],
    test: DetectionTest | None = None,
    passages: Mapping[int, Sequence[Passage]] | None = None,
) -> list[Card]:
    """Return the cards of a page; detections that pass ``test`` are marked.

    ``passages`` are those of the row ids of which there are some.
    """
    seen = looks(page)
    keys = list(shown_keys)
    made = []
    for inference in page:
        look = seen[inference.id]
        answer = answer_of(model, inference, look.picture, DRAWN_IN_CARD, test=test)
        given = inference.payload.metadata
        metadata = [(key, given[key][1]) for key in keys if key in given]
        values = [given[key][1] if key in given else None for key in keys]
        found = (passages or {}).get(inference.id, ())
        failed = failed_call_of(inference.payload)
        if failed and failed.message and answer.content is None:
            answer = replace(answer, excerpt=failed.message)
        card = Card(inference, look, answer, metadata, values, found, failed)
        made.append(card)
    return made


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A metadata key of the model, to choose from."""

    key: str
    type: str


@dataclass(frozen=True, slots=True)
class Offer:
    """The keys, labels and sources that the model has, to choose from."""

    keys: list[KnownKey]
    labels: list[tuple[str, int]]
    sources: list[str]

    @property
    def top_keys(self) -> list[str]:
        """The keys that callers send: without paths into JSON, which is listed by its own key."""
        return list(
            dict.fromkeys(
                key.key.partition(".")[0] if key.type.startswith("json.") else key.key
                for key in self.keys
            )
        )

    @property
    def completions(self) -> dict[str, Any]:
        """The terms of text queries, and what of the model completes them (``query.js``)."""
        known = {
            "keys": [each.key for each in self.keys],
            "labels": [name for name, _ in self.labels],
            "sources": self.sources,
        }
        terms = [
            text for each in TERMS.values() for text in each.offers or [each.begins]
        ]
        return {
            "terms": [*terms, *WORDS, "OR ", "NOT "],
            "known": {
                each.begins: known[each.known] for each in TERMS.values() if each.known
            },
        }

    def card_keys(self, requested: Sequence[str]) -> list[str]:
        """Return the keys that a card shows: those requested, or the first few plain ones."""
        plain = [key.key for key in self.keys if not key.type.startswith("json.")]
        return list(requested) or plain[:KEYS_SHOWN]


def offer(model: RegisteredModel) -> Offer:
    """Return the keys, labels and sources that the model has."""
    keys = KEYS.rows(model=model.pk)
    labels = colours_of(model).labels[:OFFERED_MAX]
    ordered = sorted(
        labels,
        key=lambda name: (
            name not in model.class_labels,
            model.class_labels.index(name) if name in model.class_labels else 0,
            name,
        ),
    )
    return Offer(
        [KnownKey(key, FORM_TYPES[MetadataKind(kind)]) for key, kind in keys],
        [(name, colours_of(model)(name)) for name in ordered],
        sorted(name for (name,) in SOURCES.rows(model=model.pk)),
    )
