"""Entries as cards of a gallery, as those of inferences are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from datasets.models import Dataset, DatasetEntry
from inferences.models import RegisteredModel
from inferences.web.list_markup import GalleryMarkup
from inferences.web.view_models.answers import Answer, Found, answer_read_by
from inferences.web.view_models.browsing import DRAWN_IN_CARD, KEYS_SHOWN
from inferences.web.view_models.colours import Colours
from inferences.web.view_models.inputs import Look, looks_of_blobs
from inferences.web.view_models.matches import DetectionTest
from inferences.web.view_models.truths import draw_truth
from istore.web.escaping import escape


@dataclass(frozen=True, slots=True)
class EntryCard:
    """An entry as a card: an ``Item`` of ``inferences.web.list_markup``."""

    entry: DatasetEntry
    look: Look
    answer: Answer
    truth: list[Found]

    @property
    def name(self) -> str:
        return self.entry.inference_id

    @property
    def moment(self) -> datetime:
        return self.entry.happened_at

    @property
    def source(self) -> str:
        return self.entry.data_source or ""

    @property
    def metadata(self) -> list[tuple[str, str]]:
        plain = [(k, v[1]) for k, v in self.entry.metadata.items() if v[0] != "json"]
        return plain[:KEYS_SHOWN]

    @property
    def badges(self) -> list[str]:
        truth = ["truth"] if self.entry.truth and not self.truth else []
        return [*([self.entry.split] if self.entry.split else []), *truth]

    @property
    def is_protected(self) -> bool:
        return False  # a copy needs no protection

    @property
    def warnings(self) -> list[str]:
        return []

    @property
    def distance(self) -> float | None:
        return None


class EntryMarkup(GalleryMarkup[EntryCard]):
    """Writes the cards of a version, whose pages lie below ``address``."""

    def __init__(self, address: str, within: str = "") -> None:
        super().__init__(within)
        self._base = escape(address)

    def address(self, card: EntryCard) -> str:
        return f"{self._base}/entries/{card.entry.pk}"

    def _picture(self, card: EntryCard) -> str:
        return f"{self.address(card)}/picture"

    def _field(self, card: EntryCard) -> tuple[str, str]:
        return "entry", str(card.entry.pk)


def colours_in(dataset: Dataset) -> Colours:
    """Return the colours that the models of a dataset's entries have for their labels."""
    names = list(
        dict.fromkeys(dataset.sources.order_by("pk").values_list("model_id", flat=True))
    )
    models = RegisteredModel.objects.filter(
        project=dataset.project_id, model_id__in=names
    )
    return Colours(*sorted(models, key=lambda model: names.index(model.model_id)))


def entry_cards(
    entries: Sequence[DatasetEntry],
    colours: Colours,
    test: DetectionTest | None = None,
    most: int = DRAWN_IN_CARD,
) -> list[EntryCard]:
    """Return the cards of entries with source and blob; detections that pass are marked."""
    stored = {
        each.pk: (each.blob.storage_key, each.blob.content_type)
        for each in entries
        if each.blob
    }
    seen = looks_of_blobs(stored)
    cards = []
    for entry in entries:
        look = seen.get(entry.pk, Look(missing="none"))
        answer = answer_read_by(
            entry.source, colours, entry.answer, look.picture, most, test
        )
        truth: list[Found] = []
        if entry.truth and look.picture:
            truth = draw_truth(entry.source, colours, entry.truth, look.picture, answer)
        cards.append(EntryCard(entry, look, answer, truth))
    return cards
