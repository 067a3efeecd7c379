"""The list of inferences: order, pages, filters in the address, the table."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from django.urls import reverse

from inferences.models import RegisteredModel, TaskType
from inferences.tests.pages import (
    FOUND,
    browse,
    shown,
    text,
)


def test_the_newest_inference_comes_first(person, model, make_inference):
    for day in (3, 1, 2):
        make_inference(
            inference_id=f"day-{day}", created_at=datetime(2025, 6, day, tzinfo=UTC)
        )
    assert shown(browse(person(), model)) == ["day-3", "day-2", "day-1"]


def test_pages_follow_one_another_by_cursor(person, model, make_inference, monkeypatch):
    from inferences.web import browsing

    monkeypatch.setitem(browsing.PAGE_SIZES, "gallery", 2)
    for day in range(1, 6):
        make_inference(
            inference_id=f"day-{day}", created_at=datetime(2025, 6, day, tzinfo=UTC)
        )
    client, seen = person(), []
    address = reverse("inferences:browse", args=[model.model_id])
    while address:
        response = client.get(address)
        seen += shown(response)
        following = re.search(r'rel="next" href="([^"]+)"', text(response))
        address = following and following[1].replace("&amp;", "&")
    assert seen == [f"day-{day}" for day in (5, 4, 3, 2, 1)]


def test_a_cursor_that_does_not_fit_leaves_the_page_usable(person, model):
    response = browse(person(), model, cursor="nonsense")
    assert response.status_code == 200
    assert "This page is not there" in text(response)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"metadata": "camera=north"}, ["a"]),
        ({"metadata": "frame:int>4"}, ["b"]),
        ({"metadata": ["camera:string=south", "frame:int=7"]}, ["b"]),
        ({"label": "ship"}, ["a"]),
        ({"min_score": "0.95"}, ["b"]),
        ({"source": "quay-1"}, ["a"]),
        ({"since": "2025-06-02"}, ["b"]),
        ({"until": "2025-06-01"}, ["a"]),
        ({"action": "embed"}, []),
        ({"key": "camera", "type": "string", "operator": "=", "value": "north"}, ["a"]),
    ],
)
def test_filters_are_in_the_address(person, model, make_inference, query, found):
    make_inference(
        {"camera": "north", "frame": 3},
        inference_id="a",
        detections=[("ship", 0.9)],
        data_source="quay-1",
    )
    make_inference(
        {"camera": "south", "frame": 7},
        inference_id="b",
        detections=[("crane", 0.97)],
        created_at=datetime(2025, 6, 2, tzinfo=UTC),
    )
    client = person()
    address = reverse("inferences:browse", args=[model.model_id])
    response = client.get(address, query, follow=True)
    assert shown(response) == found


def test_the_parts_of_a_comparison_become_one_address(person, model):
    message = {"key": ["pose.angle", ""], "type": ["json.float", "string"]}
    message |= {
        "operator": ["<=", "="],
        "value": ["0.5", ""],
        "since": "",
        "source": "",
    }
    response = browse(person(), model, **message)
    assert response.status_code == 302
    assert unquote(response.url).endswith("?metadata=pose.angle:json.float<=0.5")


def test_htmx_gets_the_list_alone_and_the_address_to_show(
    person, model, make_inference
):
    make_inference({"camera": "north"})
    message = {"key": "camera", "type": "string", "operator": "=", "value": "north"}
    address = reverse("inferences:browse", args=[model.model_id])
    response = person().get(address, message, headers={"HX-Request": "true"})
    assert text(response).lstrip().startswith('<section id="results"')
    assert unquote(response["HX-Push-Url"]).endswith("?metadata=camera:string=north")
    assert "HX-Request" in response["Vary"]


def test_each_filter_can_be_taken_away(person, model, make_inference):
    make_inference({"camera": "north"}, data_source="quay-1")
    query = {"metadata": "camera=north", "source": "quay-1"}
    chips = re.findall(
        r'class="chip" href="([^"]+)"', text(browse(person(), model, **query))
    )
    assert chips == ["?metadata=camera%3Dnorth", "?source=quay-1"]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"metadata": "frame:int=abc"}, "is not a valid int."),
        ({"since": "yesterday"}, "A day or a moment"),
        ({"min_score": "high"}, "Enter a number."),
        ({"since": "2025-06-02", "until": "2025-06-01"}, "ends before it starts"),
        ({"hash": "123"}, "64 hexadecimal digits"),
    ],
)
def test_a_filter_that_cannot_be_read_is_told_beside_its_field(
    person, model, query, complaint
):
    response = browse(person(), model, **query)
    assert response.status_code == 200
    assert complaint in text(response)


@pytest.mark.parametrize("name", ["source", "label"])
def test_a_nul_in_an_address_is_refused(person, model, name):
    assert browse(person(), model, **{name: "a\0b"}).status_code == 400


def test_the_count_comes_beside_the_list(person, model, make_inference):
    make_inference({"camera": "north"})
    make_inference({"camera": "south"})
    response = browse(person(), model, part="count", metadata="camera=north")
    assert "<strong>1</strong> inference" in text(response)


def test_the_table_shows_the_chosen_metadata(person, model, make_inference):
    make_inference({"camera": "north", "frame": 31})
    page = text(browse(person(), model, view="table", show="frame"))
    assert 'data-column="meta.frame"' in page
    assert 'data-column="meta.camera"' not in page
    assert re.search(r">31</span>\s*</div></td>", page)


def test_a_page_of_the_list_costs_few_queries(
    person, model, make_inference, django_assert_max_num_queries
):
    for _ in range(10):
        make_inference({"camera": "north"}, data_source="quay-1", data=FOUND)
    client = person()
    browse(client, model)
    with django_assert_max_num_queries(15):  # four of them set the deadline and end it
        browse(client, model)


def test_a_query_as_people_type_it_narrows_the_page(person, model, make_inference):
    make_inference({"camera": "north"}, inference_id="north-1")
    make_inference({"camera": "south"}, inference_id="south-1")
    viewer = person()

    assert shown(browse(viewer, model, q='meta.camera="north"')) == ["north-1"]
    assert "Column 21" in text(browse(viewer, model, q="meta.camera=north OR"))


def test_unknown_parameters_of_statistics_are_told(person, model, make_inference):
    make_inference({"camera": "north"})
    address = reverse("inferences:statistics", args=[model.model_id])
    content = text(person().get(address, {"lable": "ship", "label": "ship"}))
    assert "<code>lable</code>" in content and "no such parameter" in content
    known = {"vs": "label:x", "of": "camera:string", "since": "24h", "figures": "true"}
    assert "no such parameter" not in text(person().get(address, known))


@pytest.mark.parametrize("task", [TaskType.OBJECT_DETECTION, TaskType.TEXT_GENERATION])
def test_each_error_that_a_change_of_the_panel_brings_has_a_place(
    task, person, model, make_inference
):
    RegisteredModel.objects.filter(pk=model.pk).update(task_type=task)
    make_inference(detections=[("ship", 0.9)])
    client, address = person(), reverse("inferences:browse", args=[model.model_id])
    places = re.findall(r'id="(error-\w+)"', text(client.get(address)))
    change = {"HX-Request": "true", "HX-Target": "results"}
    brought = re.findall(
        r'id="(error-\w+)" hx-swap-oob', text(client.get(address, headers=change))
    )
    assert brought
    assert set(brought) <= set(places)
