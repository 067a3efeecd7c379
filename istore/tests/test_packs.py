"""The format of packs: what is built is read back, and what does not add up is refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from istore import blobs
from istore.blobs import packs
from istore.blobs.packs import FOOTER_BYTES, NewMember, PackWriter, build_pack

HOUR = datetime(2026, 11, 30, 9, 41, tzinfo=UTC)
KEY = blobs.pack_key(blobs.prefix_for(1, 2, HOUR, "0190-x"), "records")
EVENT = orjson.dumps({"inference_id": "a"})

texts = st.text(max_size=30)
members = st.builds(
    NewMember,
    id=texts,
    kind=st.sampled_from([blobs.INPUT, blobs.ANSWER, blobs.METADATA]) | texts,
    content=st.binary(max_size=300),
    content_type=texts,
    event=st.just(b"") | st.binary(max_size=100),
    sha256=st.just(b""),
)
packed = st.lists(members, min_size=1, max_size=12)
# Each example has its own pack, so nothing is left of the one before.
property_test = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def written(directory: Path, content: bytes) -> str:
    path = directory / KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return KEY


def test_a_pack_lies_in_the_hour_of_its_members():
    assert KEY == "1/2/2026/11/30/09/0190-x.records"


@property_test
@given(packed)
def test_what_was_packed_is_read_back(blob_directory, new):
    content, keys = build_pack(KEY, new)
    blobs.put(KEY, content)

    found = packs.read_index(KEY)

    assert [
        (m.id, m.kind, m.content_type, m.event, m.length, m.sha256) for m in found
    ] == [
        (
            *(n.id, n.kind, n.content_type, n.event, len(n.content)),
            hashlib.sha256(n.content).digest(),
        )
        for n in new
    ]
    assert [m.key(KEY) for m in found] == keys
    assert [blobs.get(key) for key in keys] == [n.content for n in new]
    assert all(m.holds(n.content) for m, n in zip(found, new, strict=True))


@property_test
@given(packed, st.data())
def test_a_pack_that_was_cut_off_is_refused(blob_directory, new, data):
    content, _ = build_pack(KEY, new)
    left = data.draw(st.integers(0, len(content) - 1))

    with pytest.raises(blobs.PackDamaged):
        packs.read_index(written(blob_directory, content[:left]))


@property_test
@given(packed, st.binary(min_size=1, max_size=50))
def test_a_pack_with_something_behind_or_before_it_is_refused(
    blob_directory, new, more
):
    content, _ = build_pack(KEY, new)

    for other in (content + more, more + content, content + more + content):
        with pytest.raises(blobs.PackDamaged):
            packs.read_index(written(blob_directory, other))


@property_test
@given(packed, st.data())
def test_a_bit_that_flips_is_noticed_wherever_it_is(blob_directory, new, data):
    content, _ = build_pack(KEY, new)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    written(blob_directory, bytes(flipped))

    if bit // 8 >= sum(len(n.content) for n in new):  # in the index or the footer
        with pytest.raises(blobs.PackDamaged):
            packs.read_index(KEY)
    else:
        found = packs.read_index(KEY)
        assert [m.holds(blobs.get(m.key(KEY))) for m in found].count(False) == 1


@property_test
@given(st.binary(max_size=400))
def test_anything_else_is_no_pack(blob_directory, content):
    with pytest.raises(blobs.PackDamaged):
        packs.read_index(written(blob_directory, content))


def sealed(offset: int, index: bytes, count: int, version: int = packs.VERSION):
    fields = packs.FIELDS.pack(offset, len(index), count, version)
    crc = packs.zlib.crc32(index + fields)
    return index + fields + packs.SEAL.pack(crc, packs.MAGIC)


def entry(offset: int, length: int, *texts: int) -> bytes:
    return packs.ENTRY.pack(offset, length, bytes(32), *texts)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (sealed(4, entry(0, 4, 0, 0, 0, 0), 1, version=2), "version 2"),
        (sealed(4, b"", 0), "no room"),
        (sealed(4, entry(0, 4, 0, 0, 0, 0), 2), "no room"),
        (sealed(4, entry(0, 3, 0, 0, 0, 0), 1), "add up"),
        (sealed(4, entry(0, 5, 0, 0, 0, 0), 1), "add up"),
        (sealed(4, entry(1, 3, 0, 0, 0, 0), 1), "begins at 0"),
        (sealed(4, entry(0, 4, 1, 0, 0, 0), 1), "add up"),
        (sealed(4, entry(0, 4, 0, 0, 0, 0) + b"x", 1), "add up"),
        (sealed(4, entry(0, 4, 1, 0, 0, 0) + b"\xff", 1), "UTF-8"),
        (sealed(5, entry(0, 4, 0, 0, 0, 0), 1), "another size"),
    ],
)
def test_an_index_with_a_right_checksum_must_add_up_as_well(blob_directory, end, why):
    with pytest.raises(blobs.PackDamaged, match=why):
        packs.read_index(written(blob_directory, b"1234" + end))


def test_an_index_larger_than_the_first_read_is_whole(blob_directory):
    new = [NewMember(f"id-{n}", "metadata", b"{}", event=EVENT) for n in range(1000)]
    content, keys = build_pack(KEY, new)
    assert len(content) - 2000 > packs.TAIL_BYTES
    blobs.put(KEY, content)

    found = packs.read_index(KEY)

    assert [m.key(KEY) for m in found] == keys
    assert {m.event for m in found} == {EVENT}


def test_an_index_that_just_fits_the_first_read_or_does_not(blob_directory):
    for more in range(-2, 3):
        writer = PackWriter(KEY)
        writer.add(NewMember("", "", b"1234"))
        size = packs.TAIL_BYTES - packs.ENTRY.size - FOOTER_BYTES + more
        writer.members[0] = writer.members[0]._replace(content_type="t" * size)
        blobs.put(KEY, writer.finish())

        assert len(packs.read_index(KEY)[0].content_type) == size


def test_the_key_of_the_next_member_is_known_before_it_is_added():
    writer = PackWriter(KEY)
    writer.add(NewMember("a", "answer", b"12345"))

    assert writer.next_key(3) == writer.add(NewMember("a", "metadata", b"{ }"))


def test_a_digest_that_is_no_sha256_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        PackWriter(KEY).add(NewMember("a", "answer", b"x", sha256=b"short"))


def test_a_pack_of_nothing_is_not_built():
    with pytest.raises(ValueError, match="at least one"):
        PackWriter(KEY).finish()


def test_a_pack_that_is_missing_is_missing(blob_directory):
    with pytest.raises(FileNotFoundError):
        packs.read_index(KEY)


def test_the_reader_in_the_documentation_reads_a_pack(tmp_path):
    page = Path(__file__).parents[2] / "docs/reference/pack-format.md"
    program = page.read_text().partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, object] = {}
    exec(program, namespace)
    path = tmp_path / "one.records"
    new = [NewMember("é", "answer", b"[1]", "application/json", EVENT)] * 3
    path.write_bytes(build_pack(KEY, new)[0])

    found = list(namespace["members"](path))

    assert found == [("é", "answer", "application/json", EVENT, b"[1]")] * 3
