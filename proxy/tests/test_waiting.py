"""A model whose blobs cannot be put waits by itself; the others go on."""

from __future__ import annotations

import os
import time

import pytest

from istore import blobs
from proxy import limits, waiting
from proxy.capture import worker
from proxy.spool.spool_files import spool_files_in
from proxy.spool.writer import Spool, age_of, size_of
from proxy.tests.builders import make_entry, prefix_of, spooled

BAD, GOOD = "1/2", "1/3"


def payload(name: str, model: str = BAD) -> bytes:
    entry = make_entry(inference_ids=[name], prefixes=[prefix_of(name, model)])
    return b"".join(entry.pieces())


def ids(stream) -> list[str]:
    return [event.inference_id for event in stream.events]


@pytest.fixture
def unusable(blob_directory):
    """The folder of one model is none: whatever is put there fails."""
    path = blob_directory / BAD
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a directory")
    return path


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def promptly(monkeypatch):
    monkeypatch.setattr(worker, "WAITING_SECONDS", (0.01,))


def test_one_unusable_folder_does_not_hold_up_the_other_models(
    capture, stream, spool, unusable
):
    mixed = [payload(f"{n}", BAD if n % 3 == 0 else GOOD) for n in range(30)]
    segment = spooled(spool, *mixed)
    segment.close()
    os.utime(segment.path, (time.time() - 100,) * 2)

    capture.look()

    assert ids(stream) == [str(n) for n in range(30) if n % 3]
    assert not segment.path.exists()
    (folder,) = waiting.folders(spool)
    kept = [p for each in spool_files_in(folder) for p, _ in each.entries()]
    assert sorted(kept) == sorted(payload(f"{n}") for n in range(0, 30, 3))
    assert size_of(spool) > sum(map(len, kept))
    assert age_of(spool) > 90  # as old as what waits, not as the file it waits in


def test_what_waited_is_captured_when_the_folder_is_mended(
    capture, stream, spool, unusable, promptly
):
    spooled(spool, payload("a"), payload("b", GOOD), payload("c")).close()
    capture.look()
    time.sleep(0.02)
    capture.retries.retry()  # still not
    assert ids(stream) == ["b"]

    unusable.unlink()
    time.sleep(0.02)
    capture.retries.retry()

    assert sorted(ids(stream)) == ["a", "b", "c"]
    (event,) = (each for each in stream.events if each.inference_id == "c")
    assert blobs.get(event.inference_storage_key) == b"{}"
    assert size_of(spool) == 0


def test_a_blob_store_that_takes_nothing_leaves_entries_where_they_are(
    capture, stream, spool, blob_directory, monkeypatch
):
    blob_directory.mkdir(exist_ok=True)
    monkeypatch.setattr(blobs, "put", lambda *_: (_ for _ in ()).throw(OSError(28, "")))
    segment = spooled(spool, payload("a"), payload("b", GOOD))
    segment.close()
    monkeypatch.setattr(capture._stop, "wait", lambda seconds: True)  # told to end
    with pytest.raises(worker.Stopped):
        capture.look()
    assert segment.path.exists() and waiting.folders(spool) == []


def test_later_entries_of_a_model_that_waits_are_not_tried_one_by_one(
    capture, stream, spool, unusable, monkeypatch
):
    tried = []
    real = blobs.put
    monkeypatch.setattr(
        blobs, "put", lambda key, *rest: (tried.append(key), real(key, *rest))
    )
    monkeypatch.setattr(worker, "WAITING_SECONDS", (60.0,))
    spooled(spool, payload("a")).close()
    capture.look()
    tried.clear()
    spooled(spool, *(payload(f"n{n}") for n in range(20))).close()
    capture.look()
    assert [key for key in tried if key.startswith(BAD)] == []
    (folder,) = waiting.folders(spool)
    assert sum(1 for s in spool_files_in(folder) for _ in s.entries()) == 21


async def test_a_model_that_waits_cannot_take_the_room_of_all(
    capture, stream, spool, unusable, settings, monkeypatch
):
    from proxy.spool.spool_files import Ownership

    settings.ISTORE_SPOOL_MAX_BYTES = 8000
    monkeypatch.setattr(limits, "SPOOL_MAX_BYTES", 8000)
    spooled(spool, *(payload(f"n{n}") for n in range(6))).close()
    capture.look()
    assert waiting.full_models(spool) == {BAD}
    ownership = Ownership.take(spool, "2" * 32)
    opened = Spool(ownership)
    try:
        assert await opened.append([b"x"], BAD) == waiting.STORAGE
        assert await opened.append([b"x"], GOOD) == ""
    finally:
        opened.close()
        ownership.release()


def test_what_is_kept_apart_outlives_a_kill_before_the_segment_is_given_up(
    capture, stream, spool, unusable, promptly
):
    segment = spooled(spool, payload("a"))
    waiting.set_aside(spool, BAD, [payload("a")], time.time())  # and killed here
    unusable.unlink()
    segment.close()
    capture.look()
    capture.retries.retry()
    assert ids(stream) == ["a", "a"]  # a copy, which the store drops
    assert size_of(spool) == 0


def test_an_entry_that_cannot_be_read_does_not_hold_up_the_other_models(
    capture, stream, spool, promptly
):
    waiting.set_aside(spool, BAD, [b"no entry"], time.time())
    waiting.set_aside(spool, GOOD, [payload("kept", GOOD)], time.time())

    capture.retries.retry()

    assert ids(stream) == ["kept"]
    assert [each.name for each in waiting.folders(spool) if spool_files_in(each)] == [
        BAD.replace("/", ".")
    ]
