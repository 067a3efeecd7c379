"""Calls that failed are found by every way of asking, without reading the others."""

from __future__ import annotations

import importlib

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.search import text
from inferences.search.counting import count_matching
from inferences.search.filters import And, InferenceFilter, Not, StatusFilter
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.tests.test_warnings import PAGE, URL, crowd, ids, rows_read

pytestmark = pytest.mark.django_db
migration = importlib.import_module("inferences.migrations.0031_keep_failures")

CALLS = {
    "well": {"answer": {"status": 200}},
    "older": {},
    "busy": {"answer": {"status": 429}, "failure": "status"},
    "down": {"answer": {"status": 503}, "failure": "status"},
    "late": {"answer": {"status": 504}, "failure": "timeout"},
    "cut": {"answer": {"status": 200}, "failure": "broken-off"},
}
__all__ = ["crowd"]  # a fixture


@pytest.fixture
def calls(make_inference):
    for name, notes in CALLS.items():
        make_inference(inference_id=name, notes=notes)


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("failed", {"busy", "down", "late", "cut"}),
        ("ok", {"well", "older"}),
        ("429", {"busy"}),
        ("4xx", {"busy"}),
        ("5xx", {"down", "late"}),
        ("timeout", {"late"}),
        ("broken-off", {"cut"}),
        ("unavailable", set()),
        ("200", {"well", "cut"}),
        ("2xx", {"well", "cut"}),
    ],
)
def test_every_way_of_asking_finds_the_same(api, calls, model, status, found):
    bodies = ({"query": f"status:{status}"}, {"filter": {"status": status}})
    for body in bodies:
        answer = api.post(f"{URL}/filter", body, format="json")
        assert set(ids(answer)) == found, body
        counted = api.post(f"{URL}/count", body, format="json")
        assert counted.json()["count"] == len(found)
    negated = {"filter": {"not": {"status": status}}}
    answer = api.post(f"{URL}/filter", negated, format="json")
    assert set(ids(answer)) == CALLS.keys() - found
    assert set(ids(api.get(f"{URL}?q=status:{status}"))) == found
    if not status[0].isdigit():
        assert set(ids(api.get(f"{URL}?status={status}"))) == found
    written = text.write(text.parse(f"status:{status}"))
    assert text.parse(written) == text.parse(f"status:{status}")


@pytest.mark.parametrize("status", ["", "bad", "600", "42", "4x", "status", "4xxx"])
def test_a_status_that_is_none_is_refused(api, calls, status):
    assert api.get(f'{URL}?q=status:"{status}"').status_code == 400
    body = {"filter": {"status": status}}
    assert api.post(f"{URL}/filter", body, format="json").status_code == 400


def test_the_page_names_failed_calls_and_leads_to_the_others(admin_client, calls):
    page = admin_client.get(f"{PAGE}?status=failed").content.decode()
    assert 'id="g-status" open' in page
    listed = page.partition('id="list"')[2].partition("</ul>")[0]
    assert "busy" in listed
    assert "older" not in listed
    busy = admin_client.get(f"{PAGE}/busy").content.decode()
    assert "failed: 429" in busy
    assert "?status=failed" in busy
    assert "failed:" not in admin_client.get(f"{PAGE}/well").content.decode()


@pytest.mark.parametrize(
    "asked",
    [
        StatusFilter("failed"),
        StatusFilter("4xx"),
        And((StatusFilter("429"), InferenceFilter())),
    ],
)
def test_few_failures_among_many_records_are_found_without_the_others(crowd, asked):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inferences_inferencepayload SET notes = "
            """'{"failure": "status", "answer": {"status": 429}}' """
            "WHERE notes ? 'warnings'"
        )
        cursor.execute("ANALYZE inferences_inferencepayload")
    query = InferenceQuery(asked, pagination=Pagination("desc", 50))
    with CaptureQueriesContext(connection) as done:
        page = query.page(crowd)
        assert [each.inference_id for each in page.inferences] == ["1", "0"]
        assert count_matching(crowd, asked).number == 2
    statements = [each["sql"] for each in done if each["sql"].startswith("SELECT")]
    assert sum(map(rows_read, statements)) < 200
    assert count_matching(crowd, Not(asked)).number == 5_998


@pytest.mark.django_db(transaction=True)
def test_the_index_is_built_again_where_an_attempt_broke_off(calls):
    with connection.schema_editor(atomic=False) as editor:
        migration.drop(apps, editor)
        migration.build(apps, editor)
        migration.build(apps, editor)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT bool_and(indisvalid) FROM pg_index WHERE indexrelid IN "
            "(SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass)",
            [migration.INDEX],
        )
        assert cursor.fetchone() == (True,)
