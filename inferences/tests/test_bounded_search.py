"""A search of words that takes too long answers with what it found, and says where it stopped."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.urls import reverse

from inferences.models import RegisteredModel, TaskType
from inferences.search import bounded_reading, planner, text
from inferences.search.access_paths import Sql
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from istore.db.statement_timeout import each_statement_limited, statement_timeout

START = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def chat(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="chat", project=project, task_type=TaskType.TEXT_GENERATION
    )


@pytest.fixture
def twenty(chat, make_inference):
    """Twenty answers with both words, of which the 1st and the 10th have the phrase."""
    for n in range(20):
        said = "wet paint" if n in (0, 9) else "paint, when wet"
        make_inference(
            to=chat,
            inference_id=f"{n}",
            created_at=START + timedelta(minutes=n),
            data=json.dumps({"choices": [{"message": {"content": said}}]}),
            detections=None,
        )
    return chat


@pytest.fixture
def slow(monkeypatch):
    """No index is fast enough, and each page has time for one window of four rows."""
    monkeypatch.setattr(bounded_reading, "in_time", lambda read: None)
    monkeypatch.setattr(bounded_reading, "SECONDS", 0)
    monkeypatch.setattr(bounded_reading, "WINDOW", 4)


PHRASE = {"query": 'text:"wet paint"'}


@pytest.mark.parametrize("direction", ["desc", "asc"])
def test_a_search_that_stops_goes_on_by_its_cursor(api, twenty, slow, direction):
    path = f"/api/v1/models/{twenty}/inferences/filter"
    found, cursor, pages = [], None, []
    while cursor or not pages:
        page = {"direction": direction, "limit": 5}
        page |= {"cursor": cursor} if cursor else {}
        told = api.post(path, PHRASE | {"pagination": page}).json()
        found += [each["inference_id"] for each in told["results"]]
        cursor = told["next"]
        assert bool(cursor) == ("searched_until" in told)
        pages.append(told.get("searched_until"))
    assert found == (["9", "0"] if direction == "desc" else ["0", "9"])
    assert pages[0] == (
        "2026-06-01T00:16:00.000000Z"
        if direction == "desc"
        else "2026-06-01T00:03:00.000000Z"
    )
    assert len(pages) == 6


def test_who_cannot_go_on_gets_whole_pages(twenty, slow):
    query = InferenceQuery(text.parse(PHRASE["query"]), Pagination("desc", 5))
    page = query.page(twenty)
    assert [each.inference_id for each in page.inferences] == ["9", "0"]
    assert (page.next, page.searched_until) == (None, None)


def test_the_page_says_how_far_the_search_came(person, twenty, slow):
    address = reverse("inferences:browse", args=[twenty.model_id])
    client = person()
    page = client.get(address, {"text": PHRASE["query"]}, follow=True).content.decode()
    assert "Nothing found so far" in page
    assert "Search on" in page
    page = client.get(address, {"text": "-text:wet"}, follow=True).content.decode()
    assert "Nothing found so far" in page
    page = client.get(address, {"text": "-text:dry"}, follow=True).content.decode()
    assert "Search on" in page
    assert "intersect" not in page.partition("Search on")[0].rpartition("<a")[2]


@pytest.mark.parametrize("limit", [statement_timeout, each_statement_limited])
@pytest.mark.django_db(transaction=True)
def test_all_ways_together_have_a_time_and_the_callers_limit_stays(
    limit, monkeypatch, settings
):
    settings.ISTORE_QUERY_SECONDS = 7
    monkeypatch.setattr(bounded_reading, "SECONDS", 0.2)
    sleep = Sql("SELECT pg_sleep(3)")
    begun = time.monotonic()
    with limit():
        assert bounded_reading.in_time(lambda: planner._ask(sleep)) is None
        assert (
            bounded_reading.in_time(lambda: planner._ask(sleep, "enable_seqscan"))
            is None
        )
        assert bounded_reading.in_time(lambda: planner._ask(Sql("SELECT 1"))) == [(1,)]
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("7s",)
    assert time.monotonic() - begun < 2.5
