"""A session is found by whichever metadata key names it, on pages and in queries alike."""

from __future__ import annotations

from django.urls import reverse

from inferences.search import text
from inferences.search.filters import matching
from inferences.store.reading import find_inference
from inferences.web.view_models.usage import sessions_of


def ids(model, query: str) -> set[str]:
    return {each.inference_id for each in matching(model, text.parse(query))}


def test_conversation_finds_each_of_the_keys_that_name_a_session(
    person, model, make_inference
):
    for key in ("conversation_id", "session_id", "session"):
        make_inference({key: "s-1"}, inference_id=key)
    make_inference({"session": 1}, inference_id="number")
    make_inference({"session": "s-2"}, inference_id="other")

    both = {"conversation_id", "session_id", "session"}
    assert ids(model, "conversation:s-1") == both
    assert ids(model, "-conversation:s-1") == {"number", "other"}
    address = reverse("inferences:session", args=[model.model_id])
    page = person().get(address, {"key": "session", "value": "s-1"}).content.decode()
    assert all(f"/{name}" in page for name in both)


def test_a_session_that_two_keys_name_is_one(model, make_inference):
    made = make_inference({"session": "s-1", "session_id": "s-1"})
    found = find_inference(model, made.inference_id)
    assert sessions_of(found) == [("session_id", "s-1")]
