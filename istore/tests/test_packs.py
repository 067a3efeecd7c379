"""The format of packs: what is built is read back, and what does not add up is refused."""

from __future__ import annotations

import os
import zlib
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from istore import blobs
from istore.blobs import packs
from istore.blobs.errors import PackDamaged
from istore.blobs.packs import FOOTER_BYTES

HOUR = "1/2/2026/11/30/09"
KEY = f"{HOUR}/0190-x.records"

records = st.lists(
    st.tuples(
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=1, max_size=200),
        st.binary(max_size=300),
    ),
    min_size=1,
    max_size=12,
)
# Each example has its own pack, so nothing is left of the one before.
property_test = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def body_of(new) -> bytes:
    return packs.build_records(KEY, new).body


def written(directory: Path, content: bytes) -> str:
    path = directory / KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return KEY


def test_a_pack_lies_in_the_hour_of_its_members():
    hour = blobs.prefix_for(1, 2, datetime(2026, 11, 30, 9, 41, tzinfo=UTC), "")
    name = packs.new_key(hour.removesuffix("/"), packs.RECORDS).removeprefix(HOUR)

    assert UUID(name.removeprefix("/").removesuffix(".records")).version == 7


@property_test
@given(records)
def test_records_are_read_back(blob_directory, new):
    pack = packs.build_records(KEY, new)
    blobs.put(KEY, pack.body)

    found = packs.read_index(KEY)

    assert found == pack.members
    assert [each.unique for each in found] == [unique for unique, _, _ in new]
    markers = [each.marker_key(KEY) for each in found]
    answers = [each.content_key(KEY) for each in found]
    assert [blobs.get(key) for key in markers] == [marker for _, marker, _ in new]
    assert [blobs.get(key) for key in answers] == [answer for _, _, answer in new]
    assert [packs.marker_key_of(key) for key in answers] == markers
    read = packs.read_records(list(zip(markers, answers, strict=True)))
    assert read == {
        key: (marker, answer)
        for key, (_, marker, answer) in zip(markers, new, strict=True)
    }
    for marker, answer, (_, _, content) in zip(markers, answers, new, strict=True):
        assert packs.is_record(marker, answer)
        assert packs.key_behind(marker, len(content)) == answer
    assert len({*markers, *answers}) == 2 * len(new)


@property_test
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=12))
def test_inputs_are_read_back(blob_directory, contents):
    pack = packs.build_inputs(
        KEY.replace("records", "inputs"), [(os.urandom(16), each) for each in contents]
    )
    blobs.put(pack.key, pack.body)

    found = packs.read_index(pack.key)

    assert found == pack.members
    assert [blobs.get(each.content_key(pack.key)) for each in found] == contents


@property_test
@given(records, st.data())
def test_a_pack_that_was_cut_off_is_refused(blob_directory, new, data):
    content = body_of(new)
    left = data.draw(st.integers(0, len(content) - 1))

    with pytest.raises(PackDamaged):
        packs.read_index(written(blob_directory, content[:left]))


@property_test
@given(records, st.binary(min_size=1, max_size=50))
def test_a_pack_with_something_behind_or_before_it_is_refused(
    blob_directory, new, more
):
    content = body_of(new)

    for other in (content + more, more + content, content + more + content):
        with pytest.raises(PackDamaged):
            packs.read_index(written(blob_directory, other))


@property_test
@given(records, st.data())
def test_a_bit_that_flips_is_noticed_or_in_one_member(blob_directory, new, data):
    """The index is sealed; members are checked by the hashes that their records state."""
    pack = packs.build_records(KEY, new)
    bit = data.draw(st.integers(0, 8 * len(pack.body) - 1))
    flipped = bytearray(pack.body)
    flipped[bit // 8] ^= 1 << bit % 8
    written(blob_directory, bytes(flipped))
    pairs = [(e.marker_key(KEY), e.content_key(KEY)) for e in pack.members]

    if bit // 8 >= pack.members[-1].end:
        with pytest.raises(PackDamaged):
            packs.read_index(KEY)
        return
    assert packs.read_index(KEY) == pack.members
    met = [each.start <= bit // 8 < each.end for each in pack.members].index(True)
    place = bit // 8
    member = pack.members[met]
    if (
        member.start <= place < member.marker_offset
        or member.offset - 4 <= place < member.offset
    ):
        with pytest.raises(PackDamaged):
            packs.read_records(pairs)
    else:
        read = packs.read_records(pairs)
        differs = [read[pair[0]] != one[1:] for pair, one in zip(pairs, new)]  # noqa: B905
        assert differs == [number == met for number in range(len(new))]


@property_test
@given(st.binary(max_size=400))
def test_anything_else_is_no_pack(blob_directory, content):
    with pytest.raises(PackDamaged):
        packs.read_index(written(blob_directory, content))


def sealed(offset: int, index: bytes, count: int, version: int = packs.VERSION):
    fields = packs.FIELDS.pack(offset, count, version)
    return index + fields + packs.SEAL.pack(zlib.crc32(index + fields), packs.MAGIC)


def entry(start: int, marker: int, content: int) -> bytes:
    return packs.ENTRY.pack(bytes(16), start, marker, content)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (sealed(12, entry(0, 2, 2), 1, version=2), "version 2"),
        (sealed(12, b"", 0), "another size"),
        (sealed(12, entry(0, 2, 2), 2), "another size"),
        (sealed(13, entry(0, 2, 2), 1), "another size"),
        (sealed(12, entry(0, 2, 2) + b"x", 1), "another size"),
        (sealed(12, entry(0, 2, 1), 1), "add up"),
        (sealed(12, entry(0, 2, 3), 1), "add up"),
        (sealed(12, entry(0, 2**32 - 1, 2), 1), "add up"),
        (sealed(12, entry(1, 2, 1), 1), "begins at 0"),
        (sealed(12, entry(0, 0, 1) + entry(8, 0, 0), 2), "begins at 9"),
    ],
)
def test_an_index_with_a_right_checksum_must_add_up_as_well(blob_directory, end, why):
    with pytest.raises(PackDamaged, match=why):
        packs.read_index(written(blob_directory, bytes(12) + end))


def test_an_index_that_just_fits_the_first_read_or_does_not(blob_directory):
    fit = (packs.TAIL_BYTES - FOOTER_BYTES) // packs.ENTRY.size
    for count in (fit - 1, fit, fit + 1, 3 * fit):
        pack = packs.build_records(KEY, [(os.urandom(16), b"{}", b"x")] * count)
        blobs.put(KEY, pack.body)

        assert packs.read_index(KEY) == pack.members


def test_the_index_of_a_thousand_members_is_in_the_first_read():
    assert 1000 * packs.ENTRY.size + FOOTER_BYTES <= packs.TAIL_BYTES


def test_a_pack_of_nothing_is_not_built():
    with pytest.raises(ValueError, match="at least one"):
        packs.build_records(KEY, [])


def test_a_pack_that_is_missing_is_missing(blob_directory):
    with pytest.raises(FileNotFoundError):
        packs.read_index(KEY)
    assert packs.read_records([(f"{KEY}#4-5", f"{KEY}#13-5")]) == {}


def test_an_index_outlives_its_members_and_tells_nothing_of_them(blob_directory):
    marker, answer = b'{"inference_id": "of Trillian"}', b"an answer"
    pack = packs.build_records(KEY, [(os.urandom(16), marker, answer)] * 2)
    end = pack.body[pack.members[-1].end :]

    assert marker not in end and answer not in end
    assert len(end) == 2 * packs.ENTRY.size + FOOTER_BYTES


@pytest.mark.parametrize(
    ("marker", "answer"),
    [
        (f"{KEY}#4-5", f"{KEY}#14-5"),
        (f"{KEY}#4-0", f"{KEY}#8-5"),
        (f"{KEY}#4-5", f"{HOUR}/other.records#13-5"),
        (f"{HOUR}/u.inputs#4-5", f"{HOUR}/u.inputs#13-5"),
        (f"{HOUR}/u/metadata", f"{HOUR}/u/answer"),
        (f"{KEY}#4-5", f"{HOUR}/u/answer"),
    ],
)
def test_what_does_not_lie_together_is_no_record(marker, answer):
    assert packs.is_record(f"{KEY}#4-5", f"{KEY}#13-5")
    assert not packs.is_record(marker, answer)


def reader_of_the_documentation():
    page = Path(__file__).parents[2] / "docs/reference/pack-format.md"
    program = page.read_text().partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, object] = {}
    exec(program, namespace)
    return namespace["members"]


def test_the_reader_in_the_documentation_reads_a_pack(blob_directory):
    unique = UUID("01939d1c-9c8b-7000-8000-000000000001")
    new = [(unique.bytes, b'{"event":%d}' % number, b"[1]") for number in range(3)]
    pack = packs.build_records(KEY, new)
    blobs.put(KEY, pack.body)
    read = reader_of_the_documentation()

    whole = [(unique, b'{"event":%d}' % number, b"[1]") for number in range(3)]
    assert list(read(blob_directory / KEY)) == whole

    blobs.delete([pack.members[0].content_key(KEY), pack.members[1].marker_key(KEY)])
    left = [(unique, b"", b"[1]"), whole[2]]
    assert list(read(blob_directory / KEY)) == left
