"""The review of a list: which inference is shown, where it lies, and where saving leads."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from inferences.models.ground_truth import GroundTruth
from inferences.web.view_models import review as review_view
from istore.models import Role

pytestmark = pytest.mark.django_db
BOX = {"label": "ship", "xmin": 1.0, "ymin": 2.0, "xmax": 3.0, "ymax": 4.0}
ANSWER = json.dumps(
    {"object_detection": [{"label": "ship", "score": 0.9, "bounding_box": BOX}]}
)


@pytest.fixture
def five(make_inference):
    """Five inferences, the newest first, of which every second one is of the north."""
    for number in range(5):
        make_inference(
            {"camera": "north" if number % 2 == 0 else "south"},
            inference_id=f"a/{number}",
            created_at=datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=number),
            data=ANSWER,
            detections=[("ship", 0.1 * number)],
        )


def page_of(model) -> str:
    return reverse("inferences:review", args=[model.project, model.model_id])


def shown(response) -> tuple[str, int | None, int | None]:
    review = response.context["review"]
    return response.context["inference"].inference_id, review.place, review.total


def test_it_begins_with_the_first_of_the_list(person, model, five):
    client = person(Role.EDITOR)
    assert shown(client.get(page_of(model))) == ("a/4", 1, 5)
    north = {"metadata": "camera=north", "sort": "oldest"}
    response = client.get(page_of(model), north)
    assert shown(response) == ("a/0", 1, 3)
    review = response.context["review"]
    assert (review.previous, review.save) == ("", "Save and go on")
    assert shown(client.get(review.next)) == ("a/2", 2, 3)


@pytest.mark.parametrize("sort", ["", "oldest", "score", "uncertain", "label"])
def test_the_place_is_that_of_the_list_in_each_order(person, model, five, sort):
    client, here = person(), f"{page_of(model)}?sort={sort}"
    seen = []
    for place in range(1, 6):
        response = client.get(here)
        name, at, total = shown(response)
        assert (at, total) == (place, 5)
        seen.append(name)
        here = response.context["review"].next
    assert sorted(seen) == [f"a/{number}" for number in range(5)]
    assert here == ""
    assert response.context["review"].save == "Save"


def test_far_from_the_beginning_the_place_is_not_told(person, model, five, monkeypatch):
    monkeypatch.setattr(review_view, "DEPTH", 2)
    response = person().get(page_of(model), {"at": "a/1"})
    assert shown(response) == ("a/1", None, None)
    assert "beyond 1,000" in response.content.decode()


def test_a_selection_becomes_an_address(person, model, five):
    client = person(Role.EDITOR)
    posted = {"inference_id": ["a/3", "a/0"], "query": "?view=gallery"}
    response = client.post(page_of(model), posted, follow=True)
    assert shown(response) == ("a/3", 1, 2)
    assert shown(client.get(response.context["review"].next)) == ("a/0", 2, 2)
    all_but = {
        "everything": "true",
        "query": "?metadata=camera%3Dnorth",
        "exclude_inference_id": "a/4",
    }
    response = client.post(page_of(model), all_but, follow=True)
    assert shown(response) == ("a/2", 1, 2)


@pytest.mark.parametrize("count", [0, review_view.NAMED_MAX + 1])
def test_a_selection_that_no_address_holds_leads_back(person, model, five, count):
    posted = {"inference_id": [f"b/{number}" for number in range(count)]}
    response = person(Role.EDITOR).post(page_of(model), posted, follow=True)
    told = [str(each) for each in response.context["messages"]]
    assert told
    assert response.request["PATH_INFO"].endswith("/inferences")


def test_saving_goes_on_and_what_is_wrong_stays(person, model, five):
    client = person(Role.EDITOR)
    review = client.get(page_of(model)).context["review"]
    change = reverse(
        "inferences:change-truth", args=[model.project, model.model_id, "a/4"]
    )
    ways = {"here": review.here, "onward": review.onward}
    wrong = client.post(change, {"form": "boxes", "boxes": "[{", **ways}, follow=True)
    assert shown(wrong)[0] == "a/4"
    assert "Not saved" in wrong.content.decode()
    accepted = client.post(change, {"form": "answer", **ways}, follow=True)
    assert shown(accepted)[0] == "a/3"
    assert GroundTruth.objects.get().truth == {"boxes": [BOX]}
    assert GroundTruth.objects.get().agrees is True


@pytest.mark.parametrize(
    "onward", ["https://elsewhere.example/", "//elsewhere.example"]
)
def test_saving_leads_to_no_other_host(person, model, five, onward):
    change = reverse(
        "inferences:change-truth", args=[model.project, model.model_id, "a/4"]
    )
    posted = {"form": "boxes", "boxes": "[]", "onward": onward}
    response = person(Role.EDITOR).post(change, posted)
    assert response.url.startswith("/projects/")


def test_what_is_gone_is_told_and_nothing_to_review_says_so(person, model, five):
    client = person(Role.EDITOR)
    response = client.get(page_of(model), {"at": "gone"})
    assert shown(response)[0] == "a/4"
    assert "gone is no longer there" in response.content.decode()
    empty = client.get(page_of(model), {"metadata": "camera=east"})
    assert "Nothing to review" in empty.content.decode()
    wrong = client.get(page_of(model), {"q": "label:"})
    assert "A filter cannot be read." in wrong.content.decode()


def test_a_viewer_looks_and_corrects_nothing(person, model, five):
    said = person(Role.VIEWER).get(page_of(model)).content.decode()
    assert "change-truth" not in said
    assert "a/4" in said
