import asyncio
import os
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingest.events import written_moment
from istore.blobs import prefix_for
from istore.uuids import uuid7
from proxy import limits, moments, spool
from proxy.entries import Facts, SpoolEntry
from proxy.segments import (
    FRAME,
    MAGIC,
    Ownership,
    Segment,
    frame,
    owners_in,
    segments_in,
)
from proxy.spool import FAILED, FULL, SLOW, Spool

OWNER = "0" * 32
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def opened(tmp_path):
    ownership = Ownership.take(tmp_path, OWNER)
    spool = Spool(ownership)
    yield spool
    spool.close()
    ownership.release()


def entries(directory) -> list[bytes]:
    return [
        payload
        for segment in segments_in(directory)
        for payload, _ in segment.entries(len(MAGIC))
    ]


def written(directory, payloads: list[bytes]) -> Segment:
    segment = Segment(directory, OWNER, 1)
    framed = [frame([each]) + each for each in payloads]
    segment.path.write_bytes(MAGIC + b"".join(framed))
    return segment


payloads = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=8)


@hypothesis_settings(max_examples=150, deadline=None)
@given(payloads, st.data())
def test_whatever_is_cut_off_leaves_a_prefix(tmp_path_factory, payloads, data):
    segment = written(tmp_path_factory.mktemp("spool"), payloads)
    whole = segment.path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    segment.path.write_bytes(whole[:cut])
    found = [payload for payload, _ in segment.entries(len(MAGIC))]
    assert found == payloads[: len(found)]
    ends = [end for _, end in segment.entries(len(MAGIC))]
    assert all(end <= cut for end in ends)
    following = ends[-1] if ends else len(MAGIC)
    if len(found) < len(payloads):  # the next one was not whole
        assert following + FRAME.size + len(payloads[len(found)]) > cut
    assert not segment.rest_after(following)[1]


@hypothesis_settings(max_examples=100, deadline=None)
@given(payloads, st.data())
def test_whatever_is_altered_is_never_taken_for_an_entry(
    tmp_path_factory, payloads, data
):
    segment = written(tmp_path_factory.mktemp("spool"), payloads)
    altered = bytearray(segment.path.read_bytes())
    place = data.draw(st.integers(0, len(altered) - 1))
    altered[place] ^= data.draw(st.integers(1, 255))
    segment.path.write_bytes(altered)
    found = [payload for payload, _ in segment.entries(len(MAGIC))]
    assert found == payloads[: len(found)]
    assert len(found) < len(payloads)


def test_zeros_at_the_end_are_no_entry(tmp_path):
    segment = written(tmp_path, [b"one"])
    with open(segment.path, "ab") as file:
        file.write(bytes(100))
    assert [payload for payload, _ in segment.entries(len(MAGIC))] == [b"one"]


def test_an_entry_that_does_not_match_its_sum_is_damage(tmp_path):
    segment = written(tmp_path, [b"one", b"two"])
    content = segment.path.read_bytes()
    segment.path.write_bytes(content[:-1] + b"x")
    ((_, end),) = segment.entries(len(MAGIC))
    assert segment.rest_after(end) == (FRAME.size + 3, True)


def test_reading_goes_on_where_it_ended(tmp_path):
    segment = written(tmp_path, [b"one", b"two", b"three"])
    first, second, _ = (end for _, end in segment.entries(len(MAGIC)))
    segment.note_captured(first)
    assert segment.captured_until() == first
    assert [p for p, _ in segment.entries(second)] == [b"three"]


def test_a_frame_is_of_the_pieces_together():
    assert frame([b"ab", b"c"]) == FRAME.pack(3, zlib.crc32(b"abc"))


async def test_what_was_appended_is_there_and_synced(opened, tmp_path, monkeypatch):
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (synced.append(file), real(file)))
    outcomes = await asyncio.gather(*(opened.append([b"n%d" % n]) for n in range(50)))
    assert set(outcomes) == {""}
    assert sorted(entries(tmp_path)) == sorted(b"n%d" % n for n in range(50))
    assert 1 <= len(synced) < 50  # together, not one by one


async def test_segments_close_by_size(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 1000)
    for n in range(5):
        assert await opened.append([b"%d" % n * 600]) == ""
    opened.close()
    states = [(each.number, each.is_closed) for each in segments_in(tmp_path)]
    assert len(states) >= 3 and all(closed for _, closed in states)
    assert entries(tmp_path) == [b"%d" % n * 600 for n in range(5)]


async def test_a_slow_disk_does_not_hold_the_answer(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MS", 30)
    real = os.fdatasync

    def slow(file):
        import time

        time.sleep(0.3)
        real(file)

    monkeypatch.setattr(os, "fdatasync", slow)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await opened.append([b"late"]) == SLOW
    assert loop.time() - began < 0.25


async def test_a_disk_that_hangs_does_not_take_all_memory(opened, monkeypatch):
    monkeypatch.setattr(spool, "WAITING_BYTES", 100)
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MS", 2000)
    first = asyncio.ensure_future(opened.append([bytes(90)]))
    await asyncio.sleep(0)
    assert await opened.append([bytes(20)]) == SLOW
    assert await first == ""


async def test_a_full_spool_takes_nothing_more(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "SPOOL_MAX_BYTES", 1000)
    monkeypatch.setattr(spool, "MEASURED_SECONDS", 0)
    assert await opened.append([bytes(900)]) == ""
    assert await opened.append([bytes(200)]) == FULL
    for segment in segments_in(tmp_path):
        segment.path.unlink()
    assert await opened.append([bytes(200)]) == ""


async def test_after_an_error_another_segment_is_opened(opened, tmp_path, monkeypatch):
    real = os.fdatasync

    def fail(file):
        raise OSError(28, "No space left on device")

    assert await opened.append([b"one"]) == ""
    monkeypatch.setattr(os, "fdatasync", fail)
    assert await opened.append([b"two"]) == FAILED
    monkeypatch.setattr(os, "fdatasync", real)
    assert await opened.append([b"three"]) == ""
    found = entries(tmp_path)
    assert found[0] == b"one" and found[-1] == b"three"
    assert len(segments_in(tmp_path)) == 2


def test_an_owner_is_inherited_when_it_is_gone(tmp_path):
    first = Ownership.take(tmp_path, OWNER)
    assert Ownership.take(tmp_path, OWNER) is None
    first.release()
    second = Ownership.take(tmp_path, OWNER)
    assert second is not None
    assert owners_in(tmp_path) == [OWNER]
    second.release(for_good=True)
    assert owners_in(tmp_path) == []


def test_an_entry_comes_back_from_its_pieces():
    facts = Facts("m", "t", ["a", "b"], ["p", "q"], "1", "2", "3", 200, 7, None, "x/y")
    entry = SpoolEntry(facts, b"request", b"answer")
    assert SpoolEntry.read(b"".join(entry.pieces())) == entry


def test_ids_of_our_own_are_of_version_7_and_rise():
    made = [uuid7() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {each[14] for each in made} == {"7"}
    assert {each[19] for each in made} <= set("89ab")
    assert [each[:13] for each in made] == sorted(each[:13] for each in made)


def test_moments_are_written_as_events_write_them():
    for moment in (1_772_600_767_000_000, 1_772_600_767_000_041, moments.now()):
        whole = EPOCH + timedelta(microseconds=moment)
        assert moments.written(moment) == written_moment(whole)
        assert moments.prefix_for(1, 2, moment, "x") == prefix_for(1, 2, whole, "x")
