"""The same, with the blobs in an object store: markers are fetched many at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingest import blob_fetcher, reconciling
from ingest.reconciling import reconcile
from ingest.stream import Lag
from ingest.tests.builders import capture
from istore import blobs
from istore.blobs import moves, packs
from istore.models import ReleasedMember

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("s3_prefix")]


def test_many_markers_are_fetched_and_keep_their_order(
    model, deliver, stream, monkeypatch
):
    monkeypatch.setattr(blob_fetcher, "AHEAD", 6)
    events = [capture(model, f"{n:02}", packed=False) for n in range(15)]
    blobs.delete([events[7].metadata_storage_key])

    deliver(*events)

    assert model.inferences.count() == 14
    assert not model.inferences.filter(inference_id="07").exists()
    assert stream.lag() == Lag(0, 1)


def test_releases_in_many_packs_are_asked_for_at_once(model, deliver):
    deliver(capture(model, "first"))
    events = [capture(model, f"{n}") for n in range(9)]
    blobs.delete([events[3].inference_storage_key])

    with CaptureQueriesContext(connection) as asked:
        deliver(*events)

    table = ReleasedMember._meta.db_table
    assert sum(table in each["sql"] for each in asked) == 1
    assert model.inferences.count() == 9


def test_an_answer_beside_the_marker_is_fetched_and_copies_go(model, deliver):
    first, copy = (capture(model, "a", inline=False, packed=False) for _ in range(2))

    deliver(first)
    deliver(copy)

    folder = copy.metadata_storage_key.rpartition("/")[0]
    assert model.inferences.count() == 1
    assert blobs.listed(folder) == ([], [])
    assert blobs.size(first.metadata_storage_key)


def test_markers_are_reconciled(model, stream, listener):
    at = datetime.now(UTC) - timedelta(hours=2)
    for name in ("a", "b"):
        capture(model, name, received_at=at, published_at=at)

    assert reconcile(stream) == 2
    listener.step(block_ms=1)

    assert model.inferences.count() == 2
    assert reconcile(stream) == 0


def test_what_leaves_its_place_is_not_published_again(model, stream, monkeypatch):
    """Only notes and moves tell: the bucket is asked for the markers alone."""
    at = datetime.now(UTC) - timedelta(hours=2)
    events = [capture(model, name, received_at=at, published_at=at) for name in "abcd"]
    processed = reconciling.already_processed

    def leave(*arguments):
        blobs.delete([events[0].inference_storage_key])
        moves.note({events[1].inference_storage_key: "elsewhere"})
        return processed(*arguments)

    monkeypatch.setattr(reconciling, "already_processed", leave)
    monkeypatch.setattr(packs, "is_released", lambda key: pytest.fail(key))
    blobs.delete([events[2].metadata_storage_key])  # a marker alone, by an erasure

    assert reconcile(stream) == 1
