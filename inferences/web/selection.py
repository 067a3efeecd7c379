"""Selections of a list of inferences: by their ids, or all that match except some."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, QueryDict

from inferences.models import InferenceQuerySet, RegisteredModel
from inferences.search.leaving_out import all_matching_but
from inferences.store.lookup import row_ids_of
from inferences.web.view_models.questions import Question, check_says_something
from istore.db import clock


@dataclass(frozen=True, slots=True)
class Selected:
    """A selection: inferences by id, or all that ``question`` finds except ``excluded``."""

    ids: tuple[str, ...] = ()
    question: Question | None = None
    excluded: tuple[str, ...] = ()

    @property
    def query(self) -> str:
        return self.question.link() if self.question else ""

    def until_now(self) -> Selected:
        """Return the selection limited to now, so that later arrivals are not part of it."""
        if self.question is None or "until" in self.question.query:
            return self
        now = clock.now().isoformat().replace("+00:00", "Z")
        question = question_of(self.question.link(until=now))
        return Selected(question=question, excluded=self.excluded)

    def check(self) -> None:
        """Raise ``ValidationError`` if a part of the question would silently select everything."""
        if self.question:
            check_says_something(self.question.given)

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields of a form that posts this selection."""
        if self.question is None:
            return [("inference_id", name) for name in self.ids]
        excluded = [("exclude_inference_id", name) for name in self.excluded]
        return [("everything", "true"), ("query", self.query), *excluded]

    def select(self, model: RegisteredModel) -> InferenceQuerySet:
        """Return the selected inferences. Raises ``ValidationError`` if a filter is not valid."""
        if self.question:
            return all_matching_but(model, self.question.filters, self.excluded)
        ids = list(row_ids_of(model, self.ids).values())
        return model.inferences.live_among(ids)


def select(request: HttpRequest) -> Selected:
    """Return the selection that a list posts.

    That is ``inference_id``, or ``everything`` of ``query`` except ``exclude_inference_id``.
    """
    given = request.POST if request.method == "POST" else request.GET
    if given.get("everything") == "true":
        return Selected(
            question=question_of(given.get("query", "")),
            excluded=tuple(dict.fromkeys(given.getlist("exclude_inference_id"))),
        )
    return Selected(tuple(dict.fromkeys(given.getlist("inference_id"))))


def question_of(query: str) -> Question:
    """Return the question of a list's query string."""
    return Question(QueryDict(query.removeprefix("?")))
