"""Packs that reconcile and the listener meet: released members, and inputs beside packs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.core.cache import cache

from inferences.maintenance.orphan_members import unnamed_objects
from inferences.store import removal
from ingest import reconciling
from ingest.events import InferenceEvent
from ingest.reconciling import reconcile
from ingest.tests.builders import make, published_now, put_packs
from istore import blobs
from istore.blobs import moves, packs
from istore.checks.verification import Scope
from istore.db.clock import now

pytestmark = pytest.mark.django_db

AGO = timedelta(hours=3)


@pytest.fixture(autouse=True)
def cache_of_this_test(settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    }
    cache.clear()


@pytest.fixture(params=["disk", "bucket"])
def storage(request):
    """Each test runs on both storages."""
    on_disk = request.param == "disk"
    request.getfixturevalue("blob_directory" if on_disk else "s3_prefix")
    return request.param


@pytest.fixture
def listen(listener):
    def listen() -> None:
        while listener.step(block_ms=1):
            pass

    return listen


def packed(
    model, names: list[str], *, with_inputs: bool = True
) -> list[InferenceEvent]:
    """Put captures of three hours ago as packs; without inputs these stay objects."""
    at = datetime.now(UTC) - AGO
    made = [make(model, name, received_at=at, published_at=at) for name in names]
    return put_packs(made, own_inputs=not with_inputs)


def ids(model) -> list[str]:
    return sorted(model.inferences.values_list("inference_id", flat=True))


def test_released_members_cost_reconcile_nothing_each(
    storage, model, stream, listen, monkeypatch
):
    events = packed(model, [str(n) for n in range(8)])
    stream.publish(map(published_now, events))
    listen()
    for name in range(7):
        assert removal.remove_one("someone", model, str(name))
    cache.clear()
    asked = []
    monkeypatch.setattr(reconciling, "_event_at", lambda model, key: asked.append(key))
    assert reconcile(stream) == 0
    assert not any(map(packs.is_member, asked))


def test_what_was_lost_beside_released_members_is_published_again(
    storage, model, stream, listen
):
    events = packed(model, ["a", "b", "c"])
    stream.publish(map(published_now, events[:2]))
    listen()
    removal.remove_one("someone", model, "a")
    assert reconcile(stream) == 1
    listen()
    assert ids(model) == ["b", "c"]
    assert reconcile(stream) == 0


def test_inputs_beside_packs_are_not_asked_for_their_markers(
    storage, model, stream, listen, monkeypatch
):
    events = packed(model, ["a", "b"], with_inputs=False)
    stream.publish(map(published_now, events))
    listen()
    assert ids(model) == ["a", "b"]
    asked = []
    monkeypatch.setattr(reconciling, "_event_at", lambda model, key: asked.append(key))
    cache.clear()
    assert reconcile(stream) == 0
    assert asked == []


def test_an_input_beside_a_pack_is_collected_when_nothing_names_it(
    storage, model, stream, listen
):
    events = packed(model, ["a"], with_inputs=False)
    lone = events[0].data_storage_key.replace(
        events[0].data_storage_key.rsplit("/", 2)[1], str(uuid4())
    )
    blobs.put(lone, b"left")
    later = Scope(now() + timedelta(days=2), repair=True)
    # The record of the first waits still, so its input stays.
    stream.publish(map(published_now, events))
    assert [e.where for e in unnamed_objects(later)] == [lone.rpartition("/")[0]]
    assert not blobs.exists(lone)
    assert blobs.exists(events[0].data_storage_key)
    listen()
    assert ids(model) == ["a"]
    assert list(unnamed_objects(later)) == []


def test_an_input_that_was_released_does_not_pass_as_there(
    blob_directory, model, stream, listen, settings
):
    settings.ISTORE_EVENT_DELIVERIES = 1
    released, whole = packed(model, ["a", "b"])
    blobs.delete([released.data_storage_key])
    stream.publish(map(published_now, (released, whole)))
    listen()
    assert ids(model) == ["b"]


def test_an_input_that_was_moved_is_there(blob_directory, model, stream, listen):
    (event,) = packed(model, ["a"])
    capture = packs.capture_of(event.inference_storage_key)
    old = event.data_storage_key.rsplit("/", 1)[0] + f"/{capture}/input"
    moves.note({old: event.data_storage_key})
    stream.publish([published_now(replace(event, data_storage_key=old))])
    listen()
    assert ids(model) == ["a"]
