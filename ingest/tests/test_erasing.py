from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from ingest import dead_letters
from ingest.erasing import erase_dead_letters, erase_letters_of
from ingest.models import DeadLetter
from ingest.tests.builders import (
    ALL,
    Made,
    capture,
    kinds_left,
    make,
    put_packs,
    with_marker,
)
from istore import blobs
from istore.blobs import packs
from istore.db.clock import now
from istore.models import ReleasedMember
from istore.tasks.tracking import TaskState

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


def test_all_letters_of_a_marker_go(model, project):
    event = capture(model, "a", metadata=PERSON)
    aside(event)
    aside(replace(event, inference_id="again"))

    assert erase_dead_letters(project, Carried("person", "string", "Zaphod")) == 2
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize("taken", [False, True])
def test_letters_that_became_a_record_go_with_it(model, deliver, taken):
    if taken:
        deliver(capture(model, "a", picture=b"another"))
    event = capture(model, "a")
    aside(event)
    DeadLetter.objects.update(replayed_at=now())
    aside(capture(model, "b"))
    deliver(event)
    rows = model.inferences.exclude(inference_id="a") if taken else model.inferences
    (row_id,) = rows.values_list("id", flat=True)

    assert erase_letters_of(model, [row_id]) == 1
    assert DeadLetter.objects.get().inference_id == "b"


@pytest.mark.parametrize("size", [10, 2000])
def test_the_report_tells_of_inputs_whose_capture_broke_off(
    model, project, deliver, settings, size
):
    """The bytes are those of the erased, and nothing in the store says so."""
    settings.ISTORE_PACK_MEMBER_BYTES = 1000
    made = make(model, "a", picture=b"p" * size, metadata=PERSON)
    deliver(*put_packs([made], own_inputs=size > 1000), capture(model, "b"))
    (torn,) = put_packs([replaced(made)], own_inputs=size > 1000)
    blobs.delete([torn.inference_storage_key])
    default_storage.delete(packs.pack_of(torn.inference_storage_key))
    ReleasedMember.objects.all().delete()

    task = open_erasure(
        "test",
        project,
        Carried("person", "string", "Zaphod"),
        why="",
        dry_run=False,
    )
    erase(task)
    task.refresh_from_db()

    assert task.state == TaskState.COMPLETE
    assert task.report["broken_off"] == {packs.pack_of(torn.data_storage_key): 1}
    assert blobs.exists(torn.data_storage_key)


def replaced(made: Made) -> Made:
    """The same inference, as the next capture of its call names it."""
    folder, kind = made.event.data_storage_key.rsplit("/", 2)[::2]
    key = f"{folder}/{uuid4()}/{kind}"
    return made._replace(event=replace(made.event, data_storage_key=key))


@pytest.mark.parametrize("is_replayed", [False, True])
def test_a_letter_is_pointed_at_another_pack(model, is_replayed):
    event = capture(model, "a")
    aside(event)
    if is_replayed:
        DeadLetter.objects.update(replayed_at=now())
    pack = f"{event.metadata_storage_key.rsplit('/', 2)[0]}/a.records"
    moved = {event.metadata_storage_key: "there", event.data_storage_key: "here"}

    found = dead_letters.repoint(pack, moved)

    assert found == (set() if is_replayed else moved.keys())
    letter = DeadLetter.objects.get()
    assert letter.metadata_storage_key == "there"
    assert b'"here"' in bytes(letter.payload)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("packed", [False, True])
def test_a_transaction_is_open_only_while_members_of_packs_are_released(
    model, project, monkeypatch, packed
):
    aside(capture(model, "a", packed=packed, metadata=PERSON))
    delete, open_ones = blobs.delete, []

    def look(keys):
        open_ones.append(connection.in_atomic_block)
        delete(keys)

    monkeypatch.setattr(blobs, "delete", look)
    assert erase_dead_letters(project, Carried("person", "string", "Zaphod")) == 1
    assert open_ones == [packed] * 3


def test_letters_of_an_hour_are_found_by_an_index():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    # Of no rows any index gives the order; of many the prefix decides.
    rows = DeadLetter.objects.filter(metadata_storage_key__startswith="1/2/2025/")
    rows = rows.order_by()
    assert "set_aside_by_marker_prefix" in rows.explain()
