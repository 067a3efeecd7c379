"""From one inference to the next: as the list goes, in whatever order it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from django.http import QueryDict

from inferences.search.query import InferenceQuery
from inferences.store.reading import find_inference
from inferences.web.view_models import neighbours as module
from inferences.web.view_models.neighbours import Neighbours, neighbours
from inferences.web.view_models.questions import SORTS, Question

pytestmark = pytest.mark.django_db
# Scores that are alike, several labels, none at all.
DETECTIONS = (
    [("ship", 0.9)],
    [("tug", 0.5), ("ship", 0.5)],
    [],
    [("ship", 0.5)],
    [("crane", None)],
    [],
    [("tug", 0.9), ("crane", 0.1)],
    [("ship", 0.2)],
)


@pytest.fixture
def stored(model, make_inference):
    for number, detections in enumerate(DETECTIONS):
        make_inference(
            {"camera": ("north", "south")[number % 2]},
            inference_id=f"i-{number}",
            created_at=datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=number),
            detections=detections,
        )


def asked(query: str) -> Question:
    return Question(QueryDict(query))


def listed(model, question: Question) -> list[str]:
    """All ids of the list, page by page."""
    query = InferenceQuery(
        question.filters, question.pagination(500), embedding=question.embedding
    )
    return [each.inference_id for each in query.page(model).inferences]


def beside(model, name: str, query: str) -> Neighbours:
    return neighbours(model, find_inference(model, name), asked(query))


@pytest.mark.parametrize("filters", ["", "label=ship", "metadata=camera=north"])
@pytest.mark.parametrize("sort", SORTS)
def test_they_are_those_of_the_list(model, stored, sort, filters):
    query = f"sort={sort}&{filters}"
    names = listed(model, asked(query))
    assert names and len(names) == len(set(names))

    for number, name in enumerate(names):
        found = beside(model, name, query)
        assert found.previous == (names[number - 1] if number else "")
        assert found.next == (names[number + 1] if number + 1 < len(names) else "")


@pytest.mark.parametrize("sort", SORTS)
def test_a_record_that_the_question_does_not_find_has_none(model, stored, sort):
    query = f"sort={sort}&label=x"
    assert listed(model, asked(query)) == []

    found = beside(model, "i-0", query)

    assert (found.previous, found.next) == ("", "")


def test_they_are_the_next_nearest_of_what_is_similar(model, make_inference):
    model.embedding_size = 2
    model.save()
    for number, x in enumerate((0.1, 0.9, 0.5, 0.3, None)):
        vector = {} if x is None else {"embedding": [x, 1.0]}
        make_inference(inference_id=f"i-{number}", **vector)
    query = "similar=i-0"
    names = listed(model, asked(query))
    assert names == ["i-0", "i-3", "i-2", "i-1", "i-4"]

    for number, name in enumerate(names):
        found = beside(model, name, query)
        assert found.previous == (names[number - 1] if number else "")
        assert found.next == (names[number + 1] if number + 1 < len(names) else "")


@pytest.mark.parametrize(
    ("sort", "titles"),
    [
        ("", ("Newer", "Older")),
        ("oldest", ("Older", "Newer")),
        ("score", ("Previous", "Next")),
    ],
)
def test_their_titles_say_which_way_the_list_goes(model, stored, sort, titles):
    assert beside(model, "i-3", f"sort={sort}").titles == titles


@pytest.mark.parametrize(
    "query", ["min_score=high", "similar=nobody", "like=a ship", "near=x"]
)
def test_what_cannot_be_asked_has_none(model, stored, query):
    found = beside(model, "i-3", query)
    assert (found.previous, found.next) == ("", "")


def test_a_page_without_its_neighbours_is_a_page(model, stored, monkeypatch):
    def slow(*_: object) -> None:
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr(module.planner, "places", slow)
    found = beside(model, "i-3", "sort=score")
    assert (found.previous, found.next) == ("", "")
