"""Traces are listed by time and filters, read as trees, and seen by their project alone."""

from __future__ import annotations

import time

import pytest
from django.db import connection
from django.urls import reverse

from inferences.models import RegisteredModel
from inferences.store import removal
from istore.accounts.tokens import create_token
from istore.models import Project, Role
from traces import listing
from traces.models import Span
from traces.tasks import fill_columns_of_spans
from traces.tests.builders import OPENINFERENCE, SECOND, TRACE, request_of

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/projects/{}/traces"
TOOL = {"openinference.span.kind": "TOOL", "tool.name": "weather"}
NOW = time.time_ns() - 3600 * SECOND


def trace_id(number: int) -> bytes:
    return number.to_bytes(16)


@pytest.fixture
def five(send, project):
    """Traces 1 to 5, a minute apart: two spans each, the third failed, the fifth is slow."""
    for n in range(1, 6):
        start = NOW + n * 60 * SECOND
        end = start + (30 if n == 5 else 1) * SECOND
        chat = {
            **{"id": 1, "trace": trace_id(n), "start": start, "end": end},
            "attributes": OPENINFERENCE | {"session.id": f"s-{n % 2}"},
            "name": f"Chat {n}",
        }
        tool = {
            **{"id": 2, "trace": trace_id(n), "start": start + 1000, "parent": 1},
            **{"attributes": TOOL, "name": "look up", "end": start + SECOND},
        }
        if n == 3:
            tool["error"] = "No weather today."
        sent = request_of(chat, tool, service=f"shop-{n}")
        assert send(sent).told.partial_success.rejected_spans == 0
    return PATH.format(project.project_id)


def numbers(response) -> list[int]:
    assert response.status_code == 200, response.content
    return [int(each["trace_id"], 16) for each in response.json()["results"]]


def test_spans_of_a_process_of_the_last_release_are_listed_before_long(five, api):
    written = list(Span.objects.order_by("trace_id", "span_id").values())
    # As that process leaves them: its statement does not name these columns.
    Span.objects.update(project=None, service="", session="")
    assert numbers(api.get(five)) == []

    fill_columns_of_spans()

    assert numbers(api.get(five)) == [5, 4, 3, 2, 1]
    assert list(Span.objects.order_by("trace_id", "span_id").values()) == written


ASKED = [
    ({}, [5, 4, 3, 2, 1]),
    ({"status": "error"}, [3]),
    ({"status": "ok"}, [5, 4, 2, 1]),
    ({"session": "s-1"}, [5, 3, 1]),
    ({"session": "s-1", "status": "ok"}, [5, 1]),
    ({"session": "nobody"}, []),
    ({"service": "shop-2"}, [2]),
    ({"model": "gpt-4o", "kind": "tool"}, []),  # of one span
    ({"model": "shop-4.tool"}, [4]),
    ({"model": "nothing"}, []),
    ({"kind": "tool", "name": "LOOK"}, [5, 4, 3, 2, 1]),
    ({"name": "chat 4"}, [4]),
    ({"least_seconds": "2"}, [5]),
    ({"most_seconds": "1.5", "status": "error"}, [3]),
]


def test_traces_are_found_by_what_is_asked_for(api, five):
    for asked, found in ASKED:
        assert numbers(api.get(five, asked)) == found, asked


def test_a_list_says_what_each_trace_is_and_goes_on_by_a_cursor(api, five):
    (first, second), third = (r := api.get(five, {"limit": "2"}).json())["results"], []
    assert r["searched_until"] is None
    assert first["name"] == "Chat 5"
    assert first["duration"] == 30
    assert (first["span_count"], second["error_count"]) == (2, 0)
    assert first["models"] == ["gpt-4o", "shop-5.tool"]
    assert (first["services"], first["sessions"]) == (["shop-5"], ["s-1"])
    while r["next"]:
        r = api.get(five, {"limit": "2", "cursor": r["next"]}).json()
        third += [int(each["trace_id"], 16) for each in r["results"]]
    assert third == [3, 2, 1]
    window = {"start": second["started_at"], "end": second["started_at"]}
    assert numbers(api.get(five, window)) == [4]


def test_a_search_that_takes_long_says_how_far_it_came(api, five, monkeypatch):
    monkeypatch.setattr(listing, "SECONDS", 0)
    monkeypatch.setattr(listing, "WALKED_FIRST", 2)
    monkeypatch.setattr(listing, "WALKED", 2)
    found, cursor, pages = [], None, 0
    while cursor or not pages:
        given = {"name": "Chat 1"} | ({"cursor": cursor} if cursor else {})
        told = api.get(five, given).json()
        found += told["results"]
        cursor, pages = told["next"], pages + 1
        assert bool(cursor) == bool(told["searched_until"])
    assert [each["name"] for each in found] == ["Chat 1"]
    assert pages > 3


def test_a_trace_is_a_tree_of_spans_with_their_inferences(api, five):
    told = api.get(f"{five}/{trace_id(3).hex()}").json()
    root, tool = told["spans"]
    assert (root["depth"], root["parent_id"], tool["depth"]) == (0, None, 1)
    assert tool["parent_id"] == root["span_id"]
    assert (tool["is_error"], tool["message"]) == (True, "No weather today.")
    assert root["model_id"] == "gpt-4o"
    assert (told["total_tokens"], told["error_count"]) == (16, 1)
    found = api.get(f"/api/v1/models/gpt-4o/inferences/{root['inference_id']}")
    assert found.status_code == 200
    assert api.get(f"{five}/{TRACE.hex()}").status_code == 404


WRONG = [
    *(
        ("limit", each)
        for each in ("0", "501", "x", "1" * 30, "", "000000500999", "0" * 5000)
    ),
    *(("cursor", each) for each in ("x", "a" * 1000, "MjAyNi0wMS0wMSBhIGIgYw")),
    *(("least_seconds", each) for each in ("-1", "nan", "inf", "1e99", "x")),
    *(("start", "yesterday"), ("end", ""), ("kind", "x"), ("status", "x")),
    *(("name", "x" * 300), ("service", ""), ("model", "\n"), ("sort", "x")),
]


def test_what_cannot_be_asked_is_refused_by_name(api, five):
    for name, value in WRONG:
        response = api.get(five, {name: value})
        assert response.status_code == 400, (name, value)
        assert name in response.content.decode()


def test_traces_are_seen_by_their_project_alone(api_as, five, send):
    other = Project.objects.create(project_id="other")
    stranger = api_as(Role.ADMINISTRATOR, other)
    assert stranger.get(five).status_code == 404
    assert stranger.get(f"{five}/{trace_id(1).hex()}").status_code == 404
    theirs = create_token("theirs", other, Role.EDITOR)[1]
    same = {"trace": trace_id(1), "name": "theirs", "attributes": OPENINFERENCE}
    send(request_of(same), authorization=f"Bearer {theirs}")
    (told,) = stranger.get(PATH.format("other")).json()["results"]
    assert (told["name"], told["span_count"]) == ("theirs", 1)
    viewer = api_as(Role.VIEWER)
    assert viewer.get(f"{five}/{trace_id(1).hex()}").json()["span_count"] == 2


def test_hidden_and_removed_spans_are_in_no_list(api, five):
    gpt = RegisteredModel.objects.get(model_id="gpt-4o")
    names = {each.inference_id: each.id for each in gpt.inferences.all()}
    row = names[f"{trace_id(5).hex()}-{1:016x}"]
    removal.hide(gpt, [row])
    first = api.get(five).json()["results"][0]
    assert (first["name"], first["span_count"]) == ("look up", 1)
    removal.remove_one("test", gpt, f"{trace_id(4).hex()}-{1:016x}")
    tool = RegisteredModel.objects.get(model_id="shop-4.tool")
    removal.remove_one("test", tool, f"{trace_id(4).hex()}-{2:016x}")
    assert numbers(api.get(five)) == [5, 3, 2, 1]


def test_spans_that_come_late_or_name_each_other_are_listed_once(api, send, project):
    loop = [
        {"id": 1, "parent": 2, "name": "a", "start": NOW, "attributes": TOOL},
        {"id": 2, "parent": 1, "name": "b", "start": NOW, "attributes": TOOL},
        {"id": 3, "parent": 9, "name": "c", "start": NOW + 1000, "attributes": TOOL},
    ]
    send(request_of(*loop))
    path = PATH.format(project.project_id)
    (told,) = api.get(path).json()["results"]
    assert (told["name"], told["span_count"]) == ("a", 3)
    late = {"id": 9, "name": "root", "start": NOW - 86_400 * SECOND}
    send(request_of(late))
    (told,) = api.get(path).json()["results"]
    assert (told["name"], told["span_count"]) == ("root", 4)
    spans = api.get(f"{path}/{TRACE.hex()}").json()["spans"]
    assert {each["name"]: each["depth"] for each in spans} == {
        **{"root": 0, "c": 1},
        **{"a": 0, "b": 1},
    }


def test_the_page_lists_filters_and_goes_on(person, five, project, monkeypatch):
    address = reverse("traces:traces", args=[project.project_id])
    client = person()
    page = client.get(address).content.decode()
    assert page.index("Chat 5") < page.index("Chat 1")
    page = client.get(address, {"status": "error"}).content.decode()
    assert "Chat 3" in page
    assert "Chat 1" not in page
    monkeypatch.setattr("traces.web.forms.ON_A_PAGE", 2)
    page = client.get(address, {"name": "<b>chat"}).content.decode()
    assert "No trace matches" in page
    page = client.get(address).content.decode()
    link = page.partition('href="?&amp;')[2].partition('"')[0]
    rows = client.get(f"{address}?{link}", headers={"hx-request": "true"})
    assert rows.content.decode().count("<th scope") == 2
    for wrong in ({"start": "x"}, {"cursor": "x"}, {"kind": "x"}, {"name": "\0"}):
        assert client.get(address, wrong).status_code == 400


def test_spans_of_an_older_release_get_their_columns(five, project):
    from importlib import import_module

    from django.apps import apps

    from traces.models import Span

    Span.objects.update(project=None, service="", session="")
    fill = import_module("traces.migrations.0003_fill_columns_of_lists").fill
    fill(apps, connection.schema_editor())
    assert Span.objects.filter(project=project).count() == 10
    assert Span.objects.filter(session="s-1").count() == 3
    assert Span.objects.exclude(service__startswith="shop-").count() == 0
