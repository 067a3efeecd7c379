"""Files of the spool that were damaged: what is intact is found, what is not is kept."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.spool.entries import SpoolEntry
from proxy.spool.frames import HEAD, HEAD_1, HEADER, MAGIC_1, frame, header
from proxy.spool.spool_files import Ownership, SpoolFile, spool_files_in
from proxy.tests.builders import payload, spooled
from proxy.tests.conftest import OWNER

GONE = "1" * 32  # an owner that is gone
SECTOR = 64

payloads = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=10)


def laid_out(payloads: list[bytes], identity: bytes) -> tuple[bytes, list[bytes]]:
    """A segment, and the bytes of each of its entries."""
    entries = [frame(identity, each, number) for number, each in enumerate(payloads)]
    return header(identity) + b"".join(entries), entries


@st.composite
def damages(draw, content: bytes) -> bytes:
    """Flips, zeros, cuts, inserts, doubled and exchanged blocks, one to three of them."""
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        size = len(damaged)
        if not size:
            break
        place = draw(st.integers(0, size - 1))
        length = draw(st.integers(1, 3 * SECTOR))
        kind = draw(
            st.sampled_from(("flip", "zero", "cut", "insert", "double", "exchange"))
        )
        if kind == "flip":
            damaged[place] ^= draw(st.integers(1, 255))
        elif kind == "zero":
            end = min(size, place + length)
            damaged[place:end] = bytes(end - place)
        elif kind == "cut":
            del damaged[place : place + length]
        elif kind == "insert":
            damaged[place:place] = draw(st.binary(min_size=1, max_size=length))
        elif kind == "double":
            damaged[place:place] = damaged[place : place + length]
        else:
            sectors = [damaged[at : at + SECTOR] for at in range(0, size, SECTOR)]
            one, other = (draw(st.integers(0, len(sectors) - 1)) for _ in range(2))
            sectors[one], sectors[other] = sectors[other], sectors[one]
            damaged = bytearray().join(sectors)
    return bytes(damaged)


@hypothesis_settings(max_examples=400, deadline=None)
@given(payloads, st.data())
def test_damage_loses_only_the_entries_whose_bytes_it_touched(
    tmp_path_factory, payloads, data
):
    segment = SpoolFile(tmp_path_factory.mktemp("spool"), GONE, 1, is_closed=True)
    content, entries = laid_out(payloads, segment.identity)
    damaged = data.draw(damages(content))
    segment.path.write_bytes(damaged)

    found = [payload for payload, _ in segment.entries()]

    intact = [
        payload
        for payload, entry in zip(payloads, entries, strict=True)
        if entry in damaged
    ]
    assert sorted(found) == sorted(intact)
    # And no byte is given up that is not in an entry that was found, or told of.
    with segment.reading() as file:
        scan = segment.scan(file, 0)
        taken = sum(HEAD.size + len(payload) for payload, _ in scan)
        kept = sum(gap.end - gap.start for gap in scan.gaps)
    begin = HEADER.size if damaged.startswith(header(segment.identity)) else 0
    doubled = sum(
        (damaged.count(entry) - 1) * len(entry) for entry in entries if entry in damaged
    )
    assert begin + taken + kept + doubled == len(damaged)


@hypothesis_settings(max_examples=150, deadline=None)
@given(payloads, st.data())
def test_a_write_that_was_cut_short_leaves_a_prefix_and_is_no_damage(
    tmp_path_factory, payloads, data
):
    segment = SpoolFile(tmp_path_factory.mktemp("spool"), GONE, 1)
    payloads = [each + b"." for each in payloads]  # zeros do not complete one
    content, entries = laid_out(payloads, segment.identity)
    cut = data.draw(st.integers(0, len(content)))
    zeros = data.draw(st.sampled_from((0, 0, 700)))
    segment.path.write_bytes(content[:cut] + bytes(zeros))
    found = [payload for payload, _ in segment.entries()]
    assert found == payloads[: len(found)]
    whole = HEADER.size + sum(map(len, entries[: len(found)]))
    following = len(entries[len(found)]) if len(found) < len(entries) else 0
    assert whole <= max(cut, HEADER.size) and (not following or whole + following > cut)
    if cut >= HEADER.size or not zeros:
        assert segment.damage() is None


def test_a_cut_into_what_was_acknowledged_is_damage(tmp_path):
    segment = SpoolFile(tmp_path, GONE, 1)
    content, _ = laid_out([b"a" * 50, b"b" * 50], segment.identity)
    descriptor = segment.open_synced()
    os.pwrite(descriptor, len(content).to_bytes(8, "little"), 0)
    os.close(descriptor)
    segment.path.write_bytes(content)
    assert segment.damage() is None
    segment.path.write_bytes(content[:-10])
    (gap,) = segment.damage()
    assert gap.end - gap.start == HEAD.size + 40
    segment.path.write_bytes(content[: -HEAD.size - 50])  # just before the entry
    assert segment.damage() == []


def test_a_closed_segment_has_no_torn_end(tmp_path):
    segment = SpoolFile(tmp_path, GONE, 1, is_closed=True)
    content, _ = laid_out([b"a" * 50, b"b" * 50], segment.identity)
    segment.path.write_bytes(content[:-10])
    assert segment.damage()


def test_a_payload_cannot_pass_for_entries(tmp_path):
    """Of a damaged entry whose payload holds entries nothing is taken for one."""
    segment, other = (SpoolFile(tmp_path, GONE, number, True) for number in (1, 2))
    forged = laid_out([b"forged"], other.identity)[0]
    old = MAGIC_1 + HEAD_1.pack(6, zlib.crc32(b"forged")) + b"forged"
    content, _ = laid_out([forged + old, b"after"], segment.identity)
    damaged = bytearray(content)
    damaged[HEADER.size] ^= 1
    segment.path.write_bytes(damaged)
    assert [payload for payload, _ in segment.entries()] == [b"after"]
    damaged[: HEADER.size] = MAGIC_1 + damaged[16 : HEADER.size]
    segment.path.write_bytes(damaged)
    assert [payload for payload, _ in segment.entries()] == [b"after"]


def test_a_file_that_was_renamed_is_read(tmp_path):
    content, _ = laid_out([b"a"], SpoolFile(tmp_path, OWNER, 1).identity)
    segment = SpoolFile(tmp_path, GONE, 7, is_closed=True)
    segment.path.write_bytes(content)
    assert [payload for payload, _ in segment.entries()] == [b"a"]


# -- files of the format before


def old_entry(name: str) -> bytes:
    content = payload(name)
    return HEAD_1.pack(len(content), zlib.crc32(content)) + content


@pytest.mark.parametrize("is_length", [True, False])
@pytest.mark.parametrize("number", [0, 1, 15, 29])
def test_behind_damage_in_an_old_file_entries_are_found(tmp_path, number, is_length):
    names = [f"n{each:02}" for each in range(30)]
    parts = [bytearray(old_entry(each)) for each in names]
    parts[number][1 if is_length else 60] ^= 0x40
    segment = SpoolFile(tmp_path, GONE, 1, is_closed=True)
    segment.path.write_bytes(MAGIC_1 + b"".join(parts))
    found = [
        SpoolEntry.read(payload).facts.inference_ids[0]
        for payload, _ in segment.entries()
    ]
    assert found == names[:number] + names[number + 1 :]
    (gap,) = segment.damage()
    assert gap.end - gap.start == len(parts[number])


def test_an_old_file_is_read_to_its_torn_end(tmp_path):
    segment = SpoolFile(tmp_path, GONE, 1)
    segment.path.write_bytes(MAGIC_1 + old_entry("a") + old_entry("b")[:-3])
    ((content, _),) = segment.entries()
    assert content == payload("a")
    assert segment.damage() is None


# -- what the capture process makes of it


def ids(stream) -> list[str]:
    return [event.inference_id for event in stream.events]


@pytest.mark.parametrize("owner", [OWNER, GONE])
def test_a_damaged_length_loses_its_own_entry_alone(capture, stream, tmp_path, owner):
    names = [f"n{number:02}" for number in range(30)]
    segment = spooled(tmp_path / "spool", *map(payload, names), owner=owner)
    content = bytearray(segment.path.read_bytes())
    third = content.index(b"n03") - len(payload("n03"))
    place = content.rindex(segment.identity, 0, third + len(payload("n03")))
    content[place + 8] ^= 0xFF  # the length in its head
    segment.path.write_bytes(content)
    segment.close()

    capture.look()

    assert ids(stream) == names[:3] + names[4:]
    (kept,) = (tmp_path / "spool").iterdir()
    assert kept.suffix == ".damaged" and payload("n03") in kept.read_bytes()
    assert payload("n04") not in kept.read_bytes()


def test_of_a_segment_that_was_captured_in_part_the_damage_before_is_kept(
    capture,
    stream,
    tmp_path,
):
    segment = spooled(tmp_path / "spool", payload("a"), payload("b"), payload("c"))
    content = bytearray(segment.path.read_bytes())
    content[HEADER.size + HEAD.size] ^= 1
    segment.path.write_bytes(content)
    ends = [end for _, end in segment.entries()]
    segment.note_captured(ends[0])  # by a process that was killed then
    segment.close()
    capture.look()
    assert ids(stream) == ["c"]
    assert list((tmp_path / "spool").glob("*.damaged"))


def test_what_was_cut_off_is_never_captured(capture, stream, tmp_path):
    segment = spooled(tmp_path / "spool", payload("a"), payload("b"), owner=GONE)
    (first, _) = (end for _, end in segment.entries())
    segment.cut(first)
    capture.look()
    assert ids(stream) == ["a"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_file_that_cannot_be_read_does_not_hold_up_the_others(
    capture,
    stream,
    tmp_path,
    monkeypatch,
):
    bad = spooled(tmp_path / "spool", payload("a"), owner=GONE)
    real = SpoolFile.scan

    def scan(segment, *how):
        if segment.owner == bad.owner:
            raise OSError(5, "Input/output error")
        return real(segment, *how)

    monkeypatch.setattr(SpoolFile, "scan", scan)
    spooled(tmp_path / "spool", payload("b")).close()
    capture.look()
    assert ids(stream) == ["b"]
    assert bad.path.exists()
    monkeypatch.setattr(SpoolFile, "scan", real)
    capture._unreadable.clear()
    capture._adopt()
    assert ids(stream) == ["b", "a"]


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.data())
def test_nothing_is_removed_that_was_not_captured_or_set_aside(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("spool")
    names = [f"n{number}" for number in range(6)]
    segment = SpoolFile(directory, GONE, 1, is_closed=True)
    content, _ = laid_out([payload(each) for each in names], segment.identity)
    damaged = data.draw(damages(content))
    segment.path.write_bytes(damaged)
    with segment.reading() as file:
        scan = segment.scan(file, 0)
        found = [each for each, _ in scan]
    gaps = segment.damage()
    if damaged == content:
        assert gaps is None
        return
    kept = segment.set_aside(gaps).read_bytes()[HEADER.size :] if gaps else b""
    for gap in scan.gaps:
        assert damaged[gap.start : gap.end] in kept
    assert len(found) + (gaps is not None) >= 1
    assert Ownership.take(directory, GONE) and spool_files_in(directory)
