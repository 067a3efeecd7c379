from __future__ import annotations

import pytest

from inferences.erasure.matching_records import Carried
from ingest.erasing import erase_dead_letters
from ingest.models import DeadLetter
from ingest.tests.builders import ALL, capture, kinds_left, with_marker
from istore import blobs

pytestmark = pytest.mark.django_db
PERSON = [{"key": "person", "type": "string", "value": "Zaphod"}]


def aside(event):
    DeadLetter.objects.create(
        stream_id=event.inference_id,
        reason="refused",
        payload=event.to_json(),
        inference_id=event.inference_id,
        metadata_storage_key=event.metadata_storage_key,
    )


def test_events_set_aside_go_with_their_objects(model, project):
    events = {
        "a": capture(model, "a", metadata=PERSON),
        "b": capture(model, "b", metadata=[{**PERSON[0], "value": "Trillian"}]),
        "c": capture(model, "c", data_source="Zaphod"),
    }
    for each in events.values():
        aside(each)

    assert erase_dead_letters(project, Carried("person", "string", "Zaphod")) == 1
    assert erase_dead_letters(project, Carried("person", "string", "Zaphod")) == 0
    assert erase_dead_letters(project, Carried("data_source", "string", "Zaphod")) == 1

    left = DeadLetter.objects.get()
    assert left.stream_id == "b"
    assert kinds_left(events["b"]) == ALL
    assert [kinds_left(events[each]) for each in "ac"] == [[], []]


def test_a_letter_that_became_a_record_goes_without_the_blobs_of_the_record(
    model, project, deliver
):
    event = capture(model, "a", metadata=PERSON)
    aside(event)
    deliver(event)

    assert erase_dead_letters(project, Carried("person", "string", "Zaphod")) == 1

    assert not DeadLetter.objects.exists()
    for key in (event.data_storage_key, event.inference_storage_key):
        assert blobs.size(key)


def test_what_cannot_be_read_is_left_to_people(model, project):
    aside(with_marker(capture(model, "a", metadata=PERSON), b"{"))

    assert erase_dead_letters(project, Carried("person", "string", "Zaphod")) == 0
    assert DeadLetter.objects.exists()
