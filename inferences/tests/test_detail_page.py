"""The page of one inference."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime

from django.urls import reverse

from inferences.tests.pages import (
    browse,
    shown,
    text,
)
from istore.models import Role


def test_a_model_that_found_nothing_says_so(person, model, make_inference):
    make_inference(data='{"object_detection": []}', detections=[])
    assert "Ran and found nothing" in text(browse(person(), model))


def test_an_answer_of_no_known_form_is_shown_as_it_is(person, model, make_inference):
    make_inference(data='{"weather": "fog"}')
    assert "{&quot;weather&quot;: &quot;fog&quot;}" in text(browse(person(), model))


def test_the_detail_shows_five_moments_and_what_lies_between(
    person, model, make_inference
):
    times = {
        "received": "2025-06-01T00:00:00.000000Z",
        "forwarded": "2025-06-01T00:00:00.001200Z",
        "responded": "2025-06-01T00:00:00.061200Z",
        "published": "2025-06-01T00:00:00.081200Z",
        "indexed": "2025-06-01T00:00:03.081200Z",
    }
    make_inference(notes={"times": times, "warnings": ["gain was set aside"]})
    address = reverse("inferences:detail", args=[model.model_id, "inference-1"])
    page = text(person().get(address))
    for word in ("Received", "1.2 ms", "60 ms", "20 ms", "3 s", "gain was set aside"):
        assert word in page


def test_the_detail_leads_to_its_neighbours(person, model, make_inference):
    for day in (1, 2, 3):
        make_inference(
            inference_id=f"day-{day}", created_at=datetime(2025, 6, day, tzinfo=UTC)
        )
    client = person()
    address = reverse("inferences:detail", args=[model.model_id, "day-2"])
    context = client.get(address).context
    assert context["neighbours"].previous == "day-3"
    assert context["neighbours"].next == "day-1"


def test_a_removed_inference_is_not_there(person, model, make_inference):
    from inferences.store.removal import remove_one

    make_inference()
    remove_one("test", model, "inference-1")
    address = reverse("inferences:detail", args=[model.model_id, "inference-1"])
    assert person().get(address).status_code == 404


def test_a_metadata_value_opens_the_inferences_that_have_it(
    person, model, make_inference
):
    odd = "north & south=1"
    metadata = {"camera": odd, "frame": 7, "note": "x" * 300, "a=b": "c"}
    make_inference(metadata, inference_id="one")
    make_inference({"camera": odd, "frame": 8}, inference_id="other")
    address = reverse("inferences:detail", args=[model.project, model.model_id, "one"])
    page = text(person().get(address))
    links = re.findall(r'href="([^"]+)" title="Inferences with the same value"', page)
    found = [shown(person().get(html.unescape(link))) for link in links]
    assert found == [["other", "one"], ["one"]]


def test_an_inference_has_one_button_to_protect_it(person, model, make_inference):
    make_inference(inference_id="one")
    address = reverse("inferences:detail", args=[model.project, model.model_id, "one"])
    page = text(person(Role.EDITOR).get(address))
    assert len(re.findall(r">\s*Protect\s*</button>", page)) == 1
