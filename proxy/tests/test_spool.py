import asyncio
import os
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from ingest.events import written_moment
from istore.blobs import prefix_for
from istore.uuids import uuid7
from proxy import limits, timestamps
from proxy.http.request_body import MemoryBudget
from proxy.spool import writer
from proxy.spool.entries import Facts, SpoolEntry
from proxy.spool.frames import HEAD, checksum, frame, head, header
from proxy.spool.spool_files import Ownership, SpoolFile, owners_in, spool_files_in
from proxy.spool.writer import FAILED, FULL, SLOW, Spool

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
        for segment in spool_files_in(directory)
        for payload, _ in segment.entries()
    ]


def written(directory, payloads: list[bytes], *, is_closed=False) -> SpoolFile:
    segment = SpoolFile(directory, OWNER, 1, is_closed)
    identity = segment.identity
    parts = [frame(identity, each, number) for number, each in enumerate(payloads)]
    segment.path.write_bytes(header(identity) + b"".join(parts))
    return segment


def test_zeros_at_the_end_are_no_entry_and_no_damage(tmp_path):
    segment = written(tmp_path, [b"one"])
    with open(segment.path, "ab") as file:
        file.write(bytes(100))
    assert entries(tmp_path) == [b"one"]
    assert segment.damage() is None


def test_an_entry_that_does_not_match_its_sum_is_damage(tmp_path):
    segment = written(tmp_path, [b"one", b"two"])
    content = segment.path.read_bytes()
    segment.path.write_bytes(content[:-1] + b"x")
    ((_, end),) = segment.entries()
    (gap,) = segment.damage()
    assert (gap.start, gap.end) == (end, end + HEAD.size + 3)


def test_reading_goes_on_where_it_ended(tmp_path):
    segment = written(tmp_path, [b"one", b"two", b"three"])
    first, second, _ = (end for _, end in segment.entries())
    segment.note_captured(first)
    assert segment.captured_until() == first
    assert [p for p, _ in segment.entries(second)] == [b"three"]


def test_a_head_is_of_the_pieces_together():
    one = head(b"identity", 3, checksum([b"ab", b"c"]), 7)
    assert one == head(b"identity", 3, zlib.crc32(b"abc"), 7)


async def test_what_was_appended_is_there_and_synced(opened, tmp_path, monkeypatch):
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (synced.append(file), real(file)))
    outcomes = await asyncio.gather(*(opened.append([b"n%d" % n]) for n in range(50)))
    assert set(outcomes) == {""}
    assert sorted(entries(tmp_path)) == sorted(b"n%d" % n for n in range(50))
    assert 1 <= len(synced) < 50  # together, not one by one


async def test_segments_close_by_size(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 1000)
    for n in range(5):
        assert await opened.append([b"%d" % n * 600]) == ""
    opened.close()
    states = [(each.number, each.is_closed) for each in spool_files_in(tmp_path)]
    assert len(states) >= 3 and all(closed for _, closed in states)
    assert entries(tmp_path) == [b"%d" % n * 600 for n in range(5)]


def hanging(monkeypatch, path_ends=".open"):
    """Syncs of segments wait for the event that is returned; those of notes do not."""
    real, go = os.fdatasync, threading.Event()

    def sync(file):
        if os.readlink(f"/proc/self/fd/{file}").endswith(path_ends):
            go.wait(20)
        real(file)

    monkeypatch.setattr(os, "fdatasync", sync)
    return go


async def warmed(opened):
    assert await opened.append([b"first"]) == ""
    opened._warm_at = time.monotonic()  # the first seconds are over
    opened._sync_seconds = 0.0


async def test_what_waits_for_a_slow_disk_is_withdrawn_and_never_written(
    opened, tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MS", 30)
    await warmed(opened)
    go = hanging(monkeypatch)
    written_now = asyncio.ensure_future(opened.append([b"in hand"]))
    await asyncio.sleep(0.05)
    outcomes = await asyncio.gather(*(opened.append([b"late"]) for _ in range(5)))
    assert outcomes == [SLOW] * 5
    assert not written_now.done()  # its answer waits for the truth
    go.set()
    assert await written_now == ""
    opened.close()
    assert entries(tmp_path) == [b"first", b"in hand"]


async def test_a_group_on_a_disk_that_hangs_is_cut_off_before_it_is_told(
    opened, tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MS", 30)
    monkeypatch.setattr(limits, "SPOOL_SYNC_SECONDS", 0.2)
    await warmed(opened)
    go = hanging(monkeypatch)
    assert await opened.append([b"given up"]) == SLOW
    # As a process finds it that takes over after a kill at this moment: the bytes are
    # there, and do not count.
    (segment,) = spool_files_in(tmp_path)
    assert b"given up" in segment.path.read_bytes()
    assert entries(tmp_path) == [b"first"]
    go.set()
    monkeypatch.undo()
    assert await opened.append([b"next"]) == ""
    opened.close()
    assert entries(tmp_path) == [b"first", b"next"]
    assert all(each.damage() is None for each in spool_files_in(tmp_path))


async def test_a_disk_that_hangs_while_a_segment_is_opened_keeps_nothing(
    opened, tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MS", 30)
    monkeypatch.setattr(limits, "SPOOL_SYNC_SECONDS", 0.1)
    await warmed(opened)
    opened._close_segment()
    go = threading.Event()
    real = writer.sync_directory
    monkeypatch.setattr(writer, "sync_directory", lambda d: (go.wait(20), real(d)))
    assert await opened.append([b"never"]) == SLOW
    go.set()
    assert await opened.append([b"next"]) == ""
    assert entries(tmp_path) == [b"first", b"next"]


async def test_the_deadline_follows_the_disk_within_a_bound(opened, monkeypatch):
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MS", 50)
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MAX_MS", 400)
    assert opened._deadline() == 0.4  # neither disk nor process is warm
    await warmed(opened)
    assert opened._deadline() == 0.05
    opened._sync_seconds = 0.1
    assert opened._deadline() == pytest.approx(0.3)
    opened._sync_seconds = 5
    assert opened._deadline() == 0.4


async def test_header_and_spool_agree_whatever_the_disk_does(
    opened, tmp_path, monkeypatch
):
    """A disk as slow as the deadline: some are kept and some not, and it is as told."""
    await warmed(opened)
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MS", 5)
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MAX_MS", 5)
    monkeypatch.setattr(limits, "SPOOL_SYNC_SECONDS", 0.02)
    real, calls = os.fdatasync, iter(range(10**6))

    def sync(file):
        number = next(calls)
        time.sleep((0.001, 0.004, 0.03)[number % 3])
        if number % 7 == 3:
            raise OSError(5, "Input/output error")
        real(file)

    monkeypatch.setattr(os, "fdatasync", sync)

    async def one(number: int) -> tuple[bytes, str]:
        await asyncio.sleep(number * 0.001)
        payload = b"%d|" % number * 100
        return payload, await opened.append([payload])

    outcomes = dict(await asyncio.gather(*map(one, range(300))))
    opened.close()
    told = {payload for payload, reason in outcomes.items() if not reason}
    assert set(outcomes.values()) >= {"", SLOW}
    assert set(entries(tmp_path)) - {b"first"} == told


async def test_capture_is_not_shown_what_may_be_taken_back(
    opened, tmp_path, monkeypatch
):
    await warmed(opened)
    go = hanging(monkeypatch)
    pending = asyncio.ensure_future(opened.append([b"on its way"]))
    await asyncio.sleep(0.05)
    (segment,) = spool_files_in(tmp_path)
    assert b"on its way" in segment.path.read_bytes()
    shown = segment.entries(0, segment.synced_until())
    assert [payload for payload, _ in shown] == [b"first"]
    go.set()
    assert await pending == ""


async def test_a_disk_that_hangs_does_not_take_all_memory(opened, monkeypatch):
    monkeypatch.setattr(writer, "WAITING_BYTES", 100)
    monkeypatch.setattr(limits, "SPOOL_DEADLINE_MS", 2000)
    first = asyncio.ensure_future(opened.append([bytes(90)]))
    await asyncio.sleep(0)
    assert await opened.append([bytes(20)]) == SLOW
    assert await first == ""


async def test_a_full_spool_takes_nothing_more(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "SPOOL_MAX_BYTES", 1000)
    monkeypatch.setattr(writer, "MEASURED_SECONDS", 0)
    assert await opened.append([bytes(900)]) == ""
    assert await opened.append([bytes(200)]) == FULL
    opened._close_segment()
    for segment in spool_files_in(tmp_path):
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
    assert entries(tmp_path) == [b"one", b"three"]  # as they were told
    assert len(spool_files_in(tmp_path)) == 2


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
    for moment in (1_772_600_767_000_000, 1_772_600_767_000_041, timestamps.now()):
        whole = EPOCH + timedelta(microseconds=moment)
        assert timestamps.format_timestamp(moment) == written_moment(whole)
        assert timestamps.prefix_for(1, 2, moment, "x") == prefix_for(1, 2, whole, "x")


async def test_who_gives_up_waiting_leaves_the_entry_counted_until_its_end(
    opened, monkeypatch
):
    go = hanging(monkeypatch)
    waiting = asyncio.ensure_future(opened.append([b"entry"]))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert opened._waiting_bytes == 5
    go.set()
    assert await opened.append([b"next"]) == ""
    assert opened._waiting_bytes == 0


def test_a_call_that_has_ended_takes_no_more_permits():
    permits = MemoryBudget(100)
    with permits.allowance() as allowance:
        assert allowance.take(10)
    assert not allowance.take(10)
    assert permits.held == 0
