"""A create whose words are known is one statement; it is answered and stored like any other."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.models import Inference, InferencePayload, MetadataKey, RegisteredModel
from inferences.store import recording
from inferences.tests.builders import body
from istore.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)
INFERENCES = "/api/v1/models/yolo-harbour/inferences"


def new_body(inference_id: str, **more: object) -> dict:
    """Return a body whose metadata are not in the order in which they will be read."""
    values = {"é": "string", "zz": "string", "b": "string", "frame": "int", "ü": "json"}
    given = [
        {
            "key": key,
            "type": type_,
            "value": '{"x": [1, "y"]}' if type_ == "json" else "7",
        }
        for key, type_ in values.items()
    ]
    made = body(inference_id, **more)
    made["data"]["metadata"]["extended_metadata"] = given
    standard = made["data"]["metadata"]["standard_metadata"]
    standard |= {"data_source": "ä" * 255}
    return made


@pytest.fixture
def rows_alone(monkeypatch):
    """The row ids of creates that took one statement; None for the others."""
    found: list[int | None] = []
    record_alone = recording.record_alone

    def record(*given):
        found.append(record_alone(*given))
        return found[-1]

    monkeypatch.setattr("inferences.store.creation.record_alone", record)
    return found


def test_the_response_is_what_a_read_gives(api, model, rows_alone):
    for name in ("first", "second"):
        created = api.post(INFERENCES, new_body(name, is_protected=True))
        assert created.status_code == 201, created.content
    asked = {"pagination": {"direction": "desc", "limit": 1}}
    (row,) = api.post(f"{INFERENCES}/filter", asked).json()["results"]

    assert rows_alone[0] is None
    assert rows_alone[1] is not None
    assert list(created.json().items()) == list(row.items())
    assert [each["key"] for each in row["metadata"]] == ["b", "zz", "é", "ü", "frame"]


def test_both_ways_store_the_same(api, model, rows_alone):
    for name in ("first", "second"):
        api.post(INFERENCES, new_body(name, created_at="2026-01-01T00:00:00Z"))
    apart = {"id", "inference_id", "notes"}
    first, second = (
        {
            name: value
            for rows in (model.inferences, InferencePayload.objects.beside(model))
            for name, value in rows.filter(id=row_id).values().get().items()
            if name not in apart
        }
        for row_id in model.inferences.order_by("inference_id").values_list(
            "id", flat=True
        )
    )
    entries = AuditEntry.objects.filter(action="inference.create").order_by("subject")

    assert rows_alone[0] is None
    assert rows_alone[1] is not None
    assert first == second
    assert [each.subject for each in entries] == ["first", "second"]
    assert len({(e.project_id, e.actor, str(e.details)) for e in entries}) == 1


def test_it_takes_two_statements(api, model):
    api.post(INFERENCES, new_body("first"))
    api.post(INFERENCES, new_body("second"))
    with CaptureQueriesContext(connection) as queries:
        assert api.post(INFERENCES, new_body("third")).status_code == 201

    assert len(queries) == 2  # token and model; the record with its audit entry


def test_a_repeat_and_other_content_change_nothing(api, model, rows_alone):
    for name in ("first", "second"):
        api.post(INFERENCES, new_body(name))
    keys = MetadataKey.objects.count()
    again = api.post(INFERENCES, new_body("second"))
    other = api.post(INFERENCES, new_body("second", is_protected=True))

    assert (again.status_code, other.status_code) == (200, 409)
    assert rows_alone[2:] == [None, None]
    assert (model.inferences.count(), MetadataKey.objects.count()) == (2, keys)
    assert AuditEntry.objects.filter(action="inference.create").count() == 2


def test_an_inference_that_ground_truth_may_wait_for_is_not_stored_alone(
    api, model, rows_alone
):
    api.post(INFERENCES, new_body("first"))
    RegisteredModel.objects.update(awaits_truth=True)

    assert api.post(INFERENCES, new_body("second")).status_code == 201
    assert rows_alone == [None, None]


def test_low_watermarks_are_lowered_for_an_older_one(api, model, rows_alone):
    api.post(INFERENCES, new_body("first"))
    top = Inference.objects.get().id
    RegisteredModel.objects.update(first_id=top, blob_gone_before=top)
    old = new_body("old", created_at="2025-01-01T00:00:00Z")

    assert api.post(INFERENCES, old).status_code == 201
    assert rows_alone == [None, None]
    model.refresh_from_db()
    assert model.first_id <= Inference.objects.get(inference_id="old").id


def test_a_taken_row_id_is_drawn_again(api, model, rows_alone, monkeypatch):
    at = {"created_at": "2026-01-01T00:00:00Z"}
    api.post(INFERENCES, new_body("first", **at))
    last = Inference.objects.get().id
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval('inferences_row', %s)", [(last - 1) % 4096 or 4096]
        )
    created = api.post(INFERENCES, new_body("second", **at))

    assert created.status_code == 201
    assert rows_alone == [None, None]
    assert model.inferences.count() == 2


def test_a_model_that_is_gone_stores_nothing(api, model):
    api.post(INFERENCES, new_body("first"))
    RegisteredModel.objects.update(model_id="another")

    assert api.post(INFERENCES, new_body("second")).status_code == 404
