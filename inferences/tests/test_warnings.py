"""Records with warnings are found by every way of asking, without reading the others."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.models import InferenceAction, InferencePayload
from inferences.search import text
from inferences.search.counting import count_matching
from inferences.search.filters import (
    And,
    DetectionFilter,
    HasWarnings,
    NoDetections,
    Not,
    Or,
    matching,
)
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.search.rare_label_scan import all_matching
from inferences.store.notes import warnings_of
from inferences.store.recording import NewInference, record
from istore.models import Role

pytestmark = pytest.mark.django_db

URL = "/api/v1/models/yolo-harbour/inferences"
PAGE = "/models/yolo-harbour/inferences"
migration = importlib.import_module("inferences.migrations.0015_index_warnings")


@pytest.fixture
def pair(make_inference):
    make_inference(inference_id="whole")
    make_inference(
        inference_id="cut", notes={"warnings": ["The answer is kept as it came."]}
    )


def ids(response) -> list[str]:
    assert response.status_code == 200, response.content
    return [each["inference_id"] for each in response.json()["results"]]


def test_every_way_of_asking_finds_records_with_warnings(api, pair):
    for body in (
        {"query": "has:warnings"},
        {"query": "-no:warnings"},
        {"filter": {"has_warnings": True}},
        {"filter": {"not": {"has_warnings": False}}},
    ):
        assert ids(api.post(f"{URL}/filter", body, format="json")) == ["cut"], body
        counted = api.post(f"{URL}/count", body, format="json")
        assert counted.json()["count"] == 1
    for address in ("warnings=yes", "warnings=true", "q=has:warnings"):
        assert ids(api.get(f"{URL}?{address}")) == ["cut"]
    for address in ("warnings=no", "warnings=false", "q=no:warnings"):
        assert ids(api.get(f"{URL}?{address}")) == ["whole"]
    assert api.get(f"{URL}?warnings=perhaps").status_code == 400


def test_a_row_of_the_api_lists_its_warnings(api, pair):
    found = {each["inference_id"]: each for each in api.get(URL).json()["results"]}
    assert found["cut"]["warnings"] == ["The answer is kept as it came."]
    assert found["whole"]["warnings"] == []
    assert api.get(f"{URL}/cut").json()["warnings"] == found["cut"]["warnings"]


def test_a_key_that_is_called_warnings_is_found_in_quotation_marks(api, make_inference):
    make_inference({"warnings": 3}, inference_id="key")
    assert ids(api.get(f'{URL}?q=has:"warnings"')) == ["key"]
    assert ids(api.get(f"{URL}?q=has:warnings")) == []
    for written in ("has:warnings", "no:warnings", 'has:"warnings"'):
        assert text.write(text.parse(written)) in (written, "-has:warnings")


def test_pages_offer_warnings_and_badge_what_has_them(admin_client, pair):
    page = admin_client.get(f"{PAGE}?warnings=yes").content.decode()
    assert 'id="g-warnings" open' in page
    assert "1 warning" in page
    assert "whole" not in page.partition('id="list"')[2].partition("</ul>")[0]
    assert "?warnings=yes" in admin_client.get(f"{PAGE}/cut").content.decode()
    assert "?warnings=yes" not in admin_client.get(f"{PAGE}/whole").content.decode()


@pytest.mark.parametrize("said", [[], None, "", [""]])
def test_warnings_that_say_nothing_are_none(make_inference, model, said):
    make_inference(notes={"warnings": said, "times": {}})
    assert InferencePayload.objects.get().notes == {"times": {}}
    assert not matching(model, HasWarnings()).exists()


@pytest.mark.parametrize("notes", [None, [], "warnings", {"warnings": 3}, {}])
def test_notes_of_any_form_are_read(notes):
    assert warnings_of(notes) == []


@pytest.fixture
def crowd(model):
    """Of six thousand the oldest two have warnings: a walk from the newest meets none."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    batch = [
        NewInference(
            inference_id=f"{number}",
            inference_action=InferenceAction.DETECT,
            data_hash=bytes(32),
            created_at=start + timedelta(seconds=number),
            detections=[("ship", 0.5)],
            notes={"warnings": ["cut"]} if number < 2 else {"times": {}},
        )
        for number in range(6_000)
    ]
    for begin in range(0, len(batch), 1_000):
        record(model, batch[begin : begin + 1_000])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE inferences_inference, inferences_inferencepayload")
    return model


def rows_read(sql: str) -> int:
    """How many rows the scans of a statement looked at, those filtered out included."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        ((plan,),) = cursor.fetchall()

    def read(node) -> int:
        here = 0
        if "Scan" in node["Node Type"]:
            removed = node.get("Rows Removed by Filter", 0)
            here = (node["Actual Rows"] + removed) * node["Actual Loops"]
        return here + sum(map(read, node.get("Plans", ())))

    return int(read(plan[0]["Plan"]))


@pytest.mark.parametrize(
    "asked", [HasWarnings(), And((HasWarnings(), Not(NoDetections())))]
)
def test_few_warnings_among_many_records_are_found_without_reading_the_others(
    crowd, asked
):
    query = InferenceQuery(asked, pagination=Pagination("desc", 50))
    with CaptureQueriesContext(connection) as done:
        page = query.page(crowd)
        assert [each.inference_id for each in page.inferences] == ["1", "0"]
        assert count_matching(crowd, asked).number == 2
        assert all_matching(crowd, asked).count() == 2
    statements = [each["sql"] for each in done if each["sql"].startswith("SELECT")]
    assert sum(map(rows_read, statements)) < 200


def test_either_of_two_is_found_by_both_indexes(crowd):
    asked = Or((HasWarnings(), DetectionFilter(["nothing"])))
    assert count_matching(crowd, asked).number == 2
    assert count_matching(crowd, Not(HasWarnings())).number == 5_998


def test_what_is_removed_is_found_no_more(model, pair, api_as):
    api = api_as(Role.ADMINISTRATOR)
    response = api.post(f"{URL}/delete", {"query": "has:warnings"}, format="json")
    assert response.status_code == 200, response.content
    assert not matching(model, HasWarnings()).exists()
    assert model.inferences.live().count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_migration_may_run_again_and_takes_out_what_says_nothing(
    make_inference, model
):
    make_inference(inference_id="empty")
    make_inference(inference_id="full", notes={"warnings": ["cut"]})
    empty = model.inferences.get(inference_id="empty").id
    InferencePayload.objects.filter(id=empty).update(notes={"warnings": [], "a": 1})
    with connection.schema_editor(atomic=False) as editor:
        migration.drop(apps, editor)
        migration.build(apps, editor)
        migration.build(apps, editor)
    assert InferencePayload.objects.get(id=empty).notes == {"a": 1}
    assert [each.inference_id for each in matching(model, HasWarnings())] == ["full"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT bool_and(indisvalid) FROM pg_index "
            "WHERE indexrelid = 'payload_with_warnings'::regclass"
        )
        assert cursor.fetchone() == (True,)
