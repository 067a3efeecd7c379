"""Times before now: ``24h`` in addresses and text queries, never in bodies."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.http import QueryDict

from inferences.models import Inference
from inferences.search import text
from inferences.search.filters.moments import RelativeMoment
from inferences.search.url_parameters import InferenceFilterSet, parameters
from inferences.web.view_models.questions import Question
from istore.db import clock

UNITS = {
    "90m": timedelta(minutes=90),
    "90min": timedelta(minutes=90),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "2w": timedelta(weeks=2),
}


@pytest.fixture
def hours(db, make_inference):
    """Inferences of one, two, three… hours ago."""
    now = clock.now()
    for n in range(1, 6):
        make_inference(inference_id=f"{n}h", created_at=now - timedelta(hours=n))


@pytest.mark.django_db
@pytest.mark.parametrize("given", UNITS)
def test_a_time_before_now_is_by_the_clock_of_the_database(given):
    before = clock.now() - UNITS[given]
    moment = text.moment_in(given)
    assert before <= moment <= clock.now() - UNITS[given]


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["0h", "24", "h", "-1h", "24 h", "1y", "24H", "1.5h"])
def test_what_is_no_time_is_refused(given):
    with pytest.raises(ValueError, match="24h"):
        text.moment_in(given)


@pytest.mark.django_db
def test_the_longest_time_is_within_the_calendar():
    assert text.moment_in("99999w").year < 200
    with pytest.raises(text.TextQueryError):
        text.parse("since:100000w")


@pytest.mark.django_db
def test_a_text_query_is_written_as_it_was_given():
    assert text.write(text.parse("label:x since:24h until:1h")) == (
        "label:x since:24h until:1h"
    )
    query = QueryDict("q=since:24h")
    filterset = InferenceFilterSet(query, Inference.objects.none())
    assert parameters(filterset.inference_filter) == {"since": ["24h"]}


@pytest.mark.django_db
def test_a_query_that_is_kept_says_moments():
    fixed = text.fix("(since:24h OR label:x) NOT until:1h")
    assert "24h" not in fixed and "1h" not in fixed and fixed.count("since:20") == 1
    assert text.fix("label:x   since:2026-01-01") == "label:x   since:2026-01-01"


def test_lists_take_it_page_by_page(hours, model, api):
    address = f"/api/v1/models/{model.model_id}/inferences"
    asked = {"since": "210m", "until": "90m", "limit": 1, "direction": "desc"}
    found, cursor = [], None
    while True:
        given = asked | ({"cursor": cursor} if cursor else {})
        page = api.get(address, given).json()
        found += [each["inference_id"] for each in page["results"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ["2h", "3h"]


def test_text_queries_of_bodies_take_it_and_windows_do_not(hours, model, api):
    address = f"/api/v1/models/{model.model_id}/inferences/count"
    counted = api.post(address, {"query": "since:150m"}, format="json")
    assert counted.json()["count"] == 2
    body = {"filters": {"time_window_filter": {"start": "150m"}}}
    assert api.post(address, body, format="json").status_code == 400


@pytest.mark.django_db
def test_pages_keep_it_in_addresses():
    question = Question(QueryDict("since=36h&until=1h"))
    assert dict(question.query.items()) == {"since": "36h", "until": "1h"}
    assert [(c.name, c.value) for c in question.chips] == [
        ("last", "36 hours"),
        ("until", "1 hour ago"),
    ]
    assert ("36h", "36 hours") in [each[:2] for each in question.presets]
    assert "36h" not in question.pinned and "1h" not in question.pinned
    assert Question(QueryDict("q=since:2w label:x")).query["since"] == "2w"


def test_a_moment_computed_from_one_is_a_plain_moment(db):
    moment = RelativeMoment.before(clock.now(), "24h")
    assert "24h" not in repr(moment + timedelta(seconds=1))
    assert moment.fixed() == moment and type(moment.fixed()) is not RelativeMoment
