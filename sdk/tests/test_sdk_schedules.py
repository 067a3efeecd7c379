"""Scheduled exports by the client: what is sent, and what is read."""

from __future__ import annotations

import json

import httpx2
import pytest

from inference_store import Client
from inference_store.errors import NotFound
from inference_store.models import ChangeExportScheduleRequest, NewExportScheduleRequest

SCHEDULE = {
    "id": "s-1",
    "model_id": "m",
    "name": "nightly",
    "selection": {"query": "label:ship"},
    "shape": "flat",
    "interval_hours": 24,
    "destination": "lake",
    "prefix": "in",
    "enabled": True,
    "lag_seconds": 12.5,
    "waiting_count": 3,
    "a_later_field": 1,
}
RUN = {"id": "r-1", "state": "pending"}
FILE = {
    "key": "scheduled/model=m/date=2026-01-01/part.parquet",
    "date": "2026-01-01",
    "row_count": 3,
    "size": 100,
    "sha256": "00",
    "committed_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def told():
    """Requests that were sent, as (method, path, body)."""
    return []


@pytest.fixture
def client(told):
    def answer(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        told.append((request.method, request.url.raw_path.decode(), body))
        path = request.url.path
        if "absent" in path:
            return httpx2.Response(404, json={"code": "not-found", "detail": ""})
        if request.method == "DELETE":
            return httpx2.Response(204)
        for ending, row in (("/runs", RUN), ("/files", FILE)):
            if path.endswith(ending):
                return httpx2.Response(200, json={"results": [row], "next": "c"})
        if path.endswith("/export-destinations"):
            rows = [{"name": "", "title": "the default store"}]
            return httpx2.Response(200, json={"results": rows, "next": None})
        if path.endswith("/run"):
            return httpx2.Response(201, json=RUN)
        if request.method == "GET" and path.endswith("/export-schedules"):
            return httpx2.Response(200, json={"results": [SCHEDULE], "next": None})
        return httpx2.Response(200, json=SCHEDULE)

    transport = httpx2.MockTransport(answer)
    return Client("http://store", "token", transport=transport)


def test_a_schedule_is_made_from_what_is_asked(client, told):
    body = NewExportScheduleRequest(
        name="nightly", destination="lake", selection={"query": "label:ship"}
    )

    made = client.export_schedule.create_export_schedule("a/b", body)

    assert made.lag_seconds == 12.5
    method, path, sent = told[0]
    assert (method, path) == ("POST", "/api/v1/models/a%2Fb/export-schedules")
    assert sent["selection"] == {"query": "label:ship"}


def test_a_change_sends_only_what_changes(client, told):
    client.export_schedule.change_export_schedule(
        "m", "s-1", ChangeExportScheduleRequest(enabled=False)
    )

    assert told == [
        ("PATCH", "/api/v1/models/m/export-schedules/s-1", {"enabled": False})
    ]


def test_lists_are_pages(client, told):
    (schedule,) = client.export_schedule.list_export_schedules("m")
    runs = client.export_schedule.list_scheduled_exports("m", "s-1", cursor="x")
    (file,) = client.export_schedule.list_exported_files("m", "s-1")

    assert schedule.name == "nightly"
    assert (runs[0].state, runs.next) == ("pending", "c")
    assert file.row_count == 3
    assert told[1][1].endswith("/runs?cursor=x")
    assert told[2][1].endswith("/files")


def test_what_is_not_there_is_none(client):
    of = client.export_schedule

    assert of.get_export_schedule("m", "absent") is None
    with pytest.raises(NotFound, match="no export schedule 'absent'"):
        of.run_export_schedule("m", "absent")
    assert of.delete_export_schedule("m", "absent") is None
    assert of.delete_export_schedule("m", "s-1") == "s-1"


def test_destinations_are_named(client):
    (one,) = client.export_schedule.list_export_destinations()

    assert one.title == "the default store"
