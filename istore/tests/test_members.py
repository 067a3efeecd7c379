"""Members of packs: read by ranges, released one by one, and opened by links of our own."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from istore import blobs, failpoints
from istore.blobs import durable_files, holes, moves, pack_notes, packs
from istore.blobs.keys import MemberKey
from istore.blobs.links import signed_link
from istore.blobs.packs import LEAD
from istore.blobs.range_file import BLOCK, RangeFile
from istore.blobs.ranges import read_ranges
from istore.blobs.releases import release
from istore.db.clock import now
from istore.tests.s3_relay import BUCKET, Answer, Relay
from istore.uuids import uuid7
from tests.s3_server import storage_at

# On an object store the database notes what was released, and on both what was moved.
pytestmark = pytest.mark.django_db

KEY = "1/2/2026/11/30/09/0190-x.inputs"
RECORDS = "1/2/2026/11/30/09/0190-y.records"
CONTENTS = [os.urandom(5000), b"", os.urandom(20), b"x", os.urandom(3 * BLOCK)]
LEADS = 2 * LEAD.size


def pack(*contents: bytes, key: str = KEY) -> list[str]:
    """Put a pack of these inputs, and return the keys of its members."""
    made = packs.build_inputs(key, [(bytes(16), each) for each in contents])
    blobs.put(made.key, made.body)
    return [each.content_key(key) for each in made.members]


def record(*pairs: tuple[bytes, bytes], key: str = RECORDS) -> list[tuple[str, str]]:
    """Put a pack of these markers and answers, and return their keys."""
    made = packs.build_records(key, [(bytes(16), *pair) for pair in pairs])
    blobs.put(made.key, made.body)
    return [(each.marker_key(key), each.content_key(key)) for each in made.members]


def is_missing(key: str) -> bool:
    """Whether the key reads as that of a missing object, whole and as a file.

    On an object store it is readable until the pack is rewritten, but noted.
    """
    if pack_notes.are_kept() and (noted := pack_notes.released_in(packs.pack_of(key))):
        pack, offset, length = MemberKey.parse(key)
        is_marker = packs.read_leads(pack, [offset]) == [packs.MARKED]
        behind = offset + length + LEAD.size
        return offset in noted or (is_marker and behind in noted)
    missing = []
    for read in (blobs.get, blobs.open_blob):
        try:
            read(key)
            missing.append(False)
        except FileNotFoundError:
            missing.append(True)
    assert missing[0] == missing[1] != blobs.exists(key)
    return missing[0]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What is synced has tests of its own here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def relay(s3_endpoint, settings):
    """The default storage is a prefix of a real bucket behind this relay."""
    endpoint = urlsplit(s3_endpoint)
    relay = Relay((endpoint.hostname, endpoint.port))
    relay.start()
    use_bucket(settings, relay)
    relay.requests.clear()
    yield relay
    relay.stop()


def use_bucket(settings, relay: Relay, bucket: str = BUCKET) -> None:
    storage = storage_at(relay.url, bucket, location=str(uuid7()))
    settings.STORAGES = {**settings.STORAGES, "default": storage}


@pytest.fixture(params=["disk", "bucket"])
def storage(request):
    """Each test runs on both storages."""
    on_disk = request.param == "disk"
    request.getfixturevalue("blob_directory" if on_disk else "relay")
    return request.param


def asked_for(relay) -> list[str]:
    """The requests since the last call: their methods, and the ranges of GETs."""
    found = [
        f"{each.method} {each.headers.get('Range', '')}".strip()
        for each in relay.requests
    ]
    relay.requests.clear()
    return found


# -- keys


@given(st.from_regex(r"[^#]{1,30}", fullmatch=True), st.integers(0, 10**18 - 1))
def test_a_member_key_is_put_together_as_it_was_taken_apart(name, number):
    member = MemberKey(f"{name}.records", number, 3)
    assert MemberKey.parse(str(member)) == member


@pytest.mark.parametrize(
    "key",
    [
        "1/2/2026/11/30/09/u/input",
        KEY,
        f"{KEY}#",
        f"{KEY}#0",
        f"{KEY}#-1-2",
        f"{KEY}#00-2",
        f"{KEY}#0-02",
        f"{KEY}#0-2#0-2",
        f"{KEY}#0-2\n",
        f"{KEY}#\N{ARABIC-INDIC DIGIT ONE}-2",
        "1/2/2026/11/30/09/u/input#0-2",
        "#0-2",
    ],
)
def test_anything_else_is_no_member_key(key):
    assert MemberKey.parse(key) is None


# -- reading


def test_a_member_is_its_range(storage):
    keys = pack(*CONTENTS)

    for key, content in zip(keys, CONTENTS, strict=True):
        assert blobs.get(key) == content
        assert blobs.size(key) == len(content)
        with blobs.open_blob(key) as file:
            assert file.read() == content
            assert file.seek(0, os.SEEK_END) == len(content)
            file.seek(-1 if content else 0, os.SEEK_END)
            assert file.read() == content[-1:]


operations = st.lists(
    st.tuples(st.just("read"), st.integers(-1, 600_000))
    | st.tuples(st.just("seek"), st.integers(0, 600_000))
    | st.tuples(st.just("back"), st.integers(0, 100_000)),
    max_size=12,
)


@settings(deadline=None)
@given(operations)
def test_a_range_reads_as_a_file_of_its_bytes_alone_would(moves):
    whole = os.urandom(700_000)
    offset, length = 12_345, 600_000
    range_ = RangeFile(
        lambda o, n: whole[o : o + n], offset, length, lambda: None
    ).buffered()
    plain = io.BytesIO(whole[offset : offset + length])
    for move, number in moves:
        for file in (range_, plain):
            if move == "seek":
                file.seek(number)
            elif move == "back":
                file.seek(-number, os.SEEK_END)
        if move == "read":
            assert range_.read(number) == plain.read(number)
        assert range_.tell() == plain.tell()


def test_a_member_of_an_absent_pack_is_missing(storage):
    for key in (f"{KEY}#8-5", f"{KEY}#8-0"):
        assert is_missing(key)
        assert packs.is_released(key)
        assert packs.marker_key_of(key) is None
    with pytest.raises(FileNotFoundError):
        read_ranges(KEY, [(0, 5)])
    with pytest.raises(FileNotFoundError):
        packs.read_index(KEY)


@pytest.mark.parametrize("offset", [95, 100, 5000])
def test_a_range_that_the_pack_does_not_have_is_damage(storage, offset):
    blobs.put(KEY, b"x" * 100)
    with pytest.raises(blobs.BlobDamaged):
        blobs.get(f"{KEY}#{offset}-10")
    with pytest.raises(blobs.BlobDamaged):
        blobs.open_blob(f"{KEY}#{offset}-10")


@pytest.mark.parametrize("offset", [0, 3])
def test_no_member_begins_where_no_lead_is(storage, offset):
    pack(*CONTENTS)
    with pytest.raises(blobs.BlobDamaged):
        packs.is_released(f"{KEY}#{offset}-10")


def test_a_file_that_is_open_ends_when_its_pack_goes(blob_directory):
    keys = pack(*CONTENTS)
    with blobs.open_blob(keys[4]) as file:
        blobs.delete([KEY])
        with pytest.raises(FileNotFoundError):
            file.read()
    assert not os.listdir(blob_directory / "1/2/2026/11/30")


ranges = st.lists(
    st.tuples(st.integers(0, 500_000), st.integers(0, 200_000)), max_size=8
)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ranges)
def test_many_ranges_come_in_the_order_they_were_asked_for(blob_directory, wanted):
    whole = os.urandom(700_000)
    blobs.put(KEY, whole)
    assert read_ranges(KEY, wanted) == [whole[o : o + n] for o, n in wanted]


def test_walking_yields_packs_and_no_members(storage):
    pack(*CONTENTS)
    assert [each.key for each in blobs.walk("1/2/")] == [KEY]


# -- requests to an object store


def test_a_member_is_one_ranged_request(relay):
    keys = pack(*CONTENTS)
    asked_for(relay)

    assert blobs.get(keys[2]) == CONTENTS[2]
    assert asked_for(relay) == [f"GET bytes={of_range(keys[2])}"]

    blobs.size(keys[2])
    assert asked_for(relay) == []


def test_an_open_member_is_read_block_by_block(relay):
    keys = pack(*CONTENTS)
    asked_for(relay)

    with blobs.open_blob(keys[4]) as file:
        assert file.read(10) == CONTENTS[4][:10]
    offset = MemberKey.parse(keys[4]).offset
    assert asked_for(relay) == [f"GET bytes={offset}-{offset + BLOCK - 1}"]
    with blobs.open_blob(keys[4]) as file:
        file.seek(2 * BLOCK + 7)
        assert file.read(10) == CONTENTS[4][2 * BLOCK + 7 :][:10]
    assert len(asked_for(relay)) == 2


def test_a_release_that_is_noted_is_known_without_a_request(relay):
    keys = pack(*CONTENTS)
    release([keys[0]])
    asked_for(relay)

    assert packs.is_released(keys[0])
    assert asked_for(relay) == []
    assert not packs.is_released(keys[1])
    assert len(asked_for(relay)) == 1


def test_ranges_close_together_are_one_request(relay):
    pack(*CONTENTS)
    body = blobs.get(KEY)
    asked_for(relay)

    found = read_ranges(KEY, [(5021, 10), (0, 7), (5000, 20)])

    assert found == [body[5021:5031], body[:7], body[5000:5020]]
    assert asked_for(relay) == ["GET bytes=0-5030"]


def test_the_records_of_a_pack_are_one_request(relay):
    content = [(b"{%d}" % number, os.urandom(3000)) for number in range(200)]
    keys = record(*content)
    asked_for(relay)

    found = packs.read_records(keys)

    assert list(found.values()) == content
    assert len(asked_for(relay)) == 1


def test_the_index_of_a_pack_is_two_requests_at_most(relay):
    pack(*CONTENTS)
    asked_for(relay)
    assert len(packs.read_index(KEY)) == len(CONTENTS)
    assert asked_for(relay) == ["GET bytes=-65536"]

    pack(*[b"x"] * 2000)
    asked_for(relay)
    assert len(packs.read_index(KEY)) == 2000
    assert len(asked_for(relay)) == 2


def of_range(key: str) -> str:
    _, offset, length = MemberKey.parse(key)
    return f"{offset}-{offset + length - 1}"


def changed(**changes):
    """A fault that changes each answer to a GET, by values or by functions of the old one."""

    def fault(request, send):
        answer = send(request)
        if request.method != "GET":
            return answer
        values = {
            name: change(getattr(answer, name)) if callable(change) else change
            for name, change in changes.items()
        }
        return replace(answer, **values)

    return fault


def without_range(request, send):
    """A server that knows nothing of ranges."""
    answer = send(request)
    if request.method != "GET":
        return answer
    headers, body = no_range(answer.headers), bytes(100_000)
    return replace(answer, status=200, headers=headers, body=body)


def other_range(headers):
    return {**headers, "Content-Range": "bytes 0-19/100000"}


def no_range(headers):
    return {k: v for k, v in headers.items() if k.lower() != "content-range"}


FAULTS = {
    "short": changed(body=lambda body: body[:-1]),
    "long": changed(body=lambda body: body + b"x"),
    "empty": changed(body=b""),
    "whole": without_range,
    "status 200": changed(status=200),
    "another range": changed(headers=other_range),
    "no range": changed(headers=no_range),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_answer_that_is_not_the_range_is_damage(relay, fault):
    keys = pack(*CONTENTS)
    relay.fault = fault
    with pytest.raises(blobs.BlobDamaged):
        blobs.get(keys[2])
    with pytest.raises(blobs.BlobDamaged):
        packs.read_index(KEY)


def test_a_range_that_breaks_off_is_damage(relay):
    keys = pack(*CONTENTS)
    relay.fault = changed(body=lambda body: body[:-5])
    relay.states_length = lambda request, answer: (
        len(answer.body) + (5 if request.method == "GET" else 0)
    )
    with pytest.raises(blobs.BlobDamaged):
        blobs.get(keys[2])


def test_a_bucket_that_is_missing_is_no_missing_member(relay, settings):
    use_bucket(settings, relay, "elsewhere")
    for read in (blobs.get, blobs.open_blob, packs.read_index):
        with pytest.raises(blobs.BucketAway):
            read(f"{KEY}#0-5")


def test_a_404_without_a_reason_is_asked_about(relay, settings):
    def bare(request, send):
        return Answer(404, {}, b"") if request.method == "GET" else send(request)

    relay.fault = bare
    with pytest.raises(FileNotFoundError):
        blobs.get(f"{KEY}#0-5")
    use_bucket(settings, relay, "elsewhere")
    with pytest.raises(blobs.BucketAway):
        blobs.get(f"{KEY}#0-5")


def test_a_release_on_an_object_store_is_noted_and_heeded(relay):
    keys = pack(*CONTENTS)
    before = blobs.get(KEY)

    blobs.delete([keys[0]])
    blobs.delete([keys[0], keys[1]])  # a repeat changes nothing

    assert blobs.get(KEY) == before
    assert pack_notes.packs_with_notes("1/2/") == [KEY]
    assert [is_missing(key) for key in keys] == [True, True, False, False, False]
    assert [packs.is_released(key) for key in keys[:3]] == [True, True, False]
    live = [each.content_key(KEY) for each in packs.live_members(KEY)]
    assert live == keys[2:]


def test_a_record_is_released_with_its_marker_and_a_marker_alone(storage):
    content = [(b"{%d}" % number, b"[%d]" % number) for number in range(4)]
    keys = record(*content)

    blobs.delete([keys[1][1], keys[2][0]])

    assert [is_missing(marker) for marker, _ in keys] == [False, True, True, False]
    assert [is_missing(answer) for _, answer in keys] == [False, True, False, False]
    assert packs.read_records(keys) == {
        keys[0][0]: content[0],
        keys[3][0]: content[3],
    }
    assert blobs.get(keys[2][1]) == content[2][1]
    assert packs.marker_key_of(keys[1][1]) is None
    for marker, answer in (keys[0], keys[2], keys[3]):
        assert packs.marker_key_of(answer) == marker
    blobs.delete([keys[2][1]])
    assert is_missing(keys[2][1])
    if storage == "disk":
        erased = blobs.get(RECORDS)
        gone = [piece for pair in content[1:3] for piece in pair]
        assert [piece for piece in gone if piece in erased] == []


def test_a_content_of_no_bytes_is_a_member_as_any_other(storage):
    """The marker behind it begins nearly where it ends; each goes by itself."""
    content = [(b"{1}", b""), (b"{2}", b""), (b"{3}", b"x"), (b"{4}", b"")]
    keys = record(*content)
    inputs = pack(b"", b"", b"x")

    assert packs.read_records(keys) == {
        pair[0]: one for pair, one in zip(keys, content, strict=True)
    }
    blobs.delete([keys[0][1], keys[2][0], inputs[0]])

    assert [is_missing(answer) for _, answer in keys] == [True, False, False, False]
    assert [is_missing(marker) for marker, _ in keys] == [True, False, True, False]
    assert list(packs.read_records(keys)) == [keys[1][0], keys[3][0]]
    assert [is_missing(key) for key in inputs] == [True, False, False]
    assert [packs.is_released(key) for key in inputs] == [True, False, False]


def test_a_member_of_zeros_is_a_member_as_any_other(storage):
    zeros = bytes(20_000)
    keys = pack(b"x" * 9000, zeros, b"y" * 9000)
    ((_, answer),) = record((b"{}", zeros))

    blobs.delete([keys[0], keys[2]])

    assert blobs.get(keys[1]) == zeros
    assert not packs.is_released(keys[1])
    with blobs.open_blob(keys[1]) as file:
        assert file.read() == zeros
    assert blobs.get(answer) == zeros
    blobs.delete([keys[1], answer])
    assert is_missing(keys[1])
    assert is_missing(answer)


def test_lengths_that_look_like_leads_mislead_nobody(storage):
    """A content as long as the marker behind it, and what looks like a lead inside."""
    lead = LEAD.pack(4) + LEAD.pack(packs.MARKED)
    content = [(b"{1}", lead), (lead, b"{1}"), (b"{1}", b"{1}"), (lead * 2, lead)]
    keys = record(*content)

    blobs.delete([keys[1][0]])
    assert [is_missing(answer) for _, answer in keys] == [False] * 4
    assert [is_missing(marker) for marker, _ in keys] == [False, True, False, False]
    blobs.delete([keys[3][1]])
    assert [is_missing(answer) for _, answer in keys] == [False, False, False, True]
    assert [is_missing(marker) for marker, _ in keys] == [False, True, False, True]


# -- release


@pytest.fixture(params=["holes", "zeros"])
def ways(request, monkeypatch):
    """A release punches holes, or writes zeros where it cannot."""
    if request.param == "zeros":

        def refused(*_):
            holes.ctypes.set_errno(errno.EOPNOTSUPP)
            return -1

        monkeypatch.setattr(holes, "_fallocate", refused)
    return request.param


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_released_members_are_zeros_and_the_others_stay(blob_directory, ways, data):
    sizes = data.draw(st.lists(st.integers(0, 9000), min_size=1, max_size=10))
    contents = [
        (bytes([100 + n]) * 50, bytes([1 + n]) * size) for n, size in enumerate(sizes)
    ]
    keys = record(*contents)
    whole = data.draw(st.sets(st.sampled_from(range(len(keys))), max_size=10))
    alone = data.draw(st.sets(st.sampled_from(range(len(keys))), max_size=10))
    order = data.draw(
        st.permutations(
            [*(keys[n][1] for n in whole), *(keys[n][0] for n in alone)] * 2
        )
    )
    calls = data.draw(st.integers(1, 3))

    for start in range(calls):
        release(order[start::calls])

    for number, ((marker, answer), content) in enumerate(
        zip(keys, contents, strict=True)
    ):
        assert is_missing(answer) == packs.is_released(answer) == (number in whole)
        assert is_missing(marker) == (number in whole | alone)
        if number not in whole:
            assert blobs.get(answer) == content[1]
        if number not in whole | alone:
            assert blobs.get(marker) == content[0]
    if len(whole) == len(keys):
        assert not (blob_directory / RECORDS).exists()
        return
    members, body = packs.read_index(RECORDS), blobs.get(RECORDS)
    for number, each in enumerate(members):
        if number in whole:
            assert not any(body[each.start : each.end])
        elif number in alone:
            assert not any(body[each.start : each.offset - LEAD.size])


def blocks(directory) -> int:
    return (directory / KEY).stat().st_blocks * 512


def test_the_blocks_of_a_released_member_are_given_back(blob_directory):
    keys = pack(b"a" * 100_000, b"b" * 1_000_000, b"c" * 100_000)
    before, size = blocks(blob_directory), (blob_directory / KEY).stat().st_size

    release([keys[1]])

    assert before - blocks(blob_directory) >= 1_000_000 - 2 * 4096
    assert (blob_directory / KEY).stat().st_size == size


def test_small_members_give_their_blocks_back_one_after_the_other(blob_directory):
    keys = pack(*(b"x" * 1000 for _ in range(1000)))
    before = blocks(blob_directory)

    for key in keys[100:900:2] + keys[101:900:2]:
        release([key])

    assert before - blocks(blob_directory) >= 800 * 1000 - 2 * 4096
    assert blobs.get(keys[99]) == blobs.get(keys[900]) == b"x" * 1000


def test_a_release_is_synced_before_it_returns(blob_directory, ways, monkeypatch):
    keys = pack(*CONTENTS)
    synced = []
    fsync = os.fsync

    def see(descriptor: int) -> None:
        synced.append(os.pread(descriptor, len(CONTENTS[0]) + LEADS, 0))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", see)
    release([keys[0], keys[2]])
    assert synced == [bytes(len(CONTENTS[0]) + LEADS)]


def test_what_is_missing_counts_as_released(blob_directory):
    keys = pack(*CONTENTS)
    release([keys[0], "1/2/2026/11/30/10/absent.inputs#8-5"])
    release([keys[0]])
    assert packs.is_released(keys[0])


def test_a_key_of_no_member_of_the_pack_releases_nothing(blob_directory, ways):
    pack(*CONTENTS)
    before = blobs.get(KEY)
    release([f"{KEY}#90-1000", f"{KEY}#5000000-1000", f"{KEY}#0-5"])
    assert blobs.get(KEY) == before


DAMAGES = {
    "footer": lambda body: body[:-1] + b"?",
    "index": lambda body: body[:-40] + b"????" + body[-36:],
    "cut off": lambda body: body[:-1],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_members_are_released_without_an_index(blob_directory, damage, ways):
    """A key and the lead tell what goes; such a pack is never deleted."""
    keys = pack(*CONTENTS)
    path = blob_directory / KEY
    path.write_bytes(DAMAGES[damage](path.read_bytes()))

    release([keys[0], keys[1]])
    release([keys[0]])
    assert path.read_bytes()[: len(CONTENTS[0]) + 2 * LEADS] == bytes(
        len(CONTENTS[0]) + 2 * LEADS
    )
    assert [blobs.get(key) for key in keys[2:]] == CONTENTS[2:]
    release(keys)
    assert path.exists()
    assert not any(content in path.read_bytes() for content in CONTENTS if content)


def test_a_record_is_released_without_an_index(blob_directory, ways):
    texts = [(b'{"marker":%d}' % n, b"answer %d" % n) for n in range(4)]
    keys = record(*texts)
    path = blob_directory / RECORDS
    path.write_bytes(path.read_bytes()[:-1])

    release([keys[1][0]])  # a marker alone
    release([keys[1][1], keys[2][1]])
    body = path.read_bytes()
    for number, pair in enumerate(texts):
        for text in pair:
            assert (text in body) == (number in (0, 3))
    assert blobs.get(keys[3][1]) == b"answer 3"


def test_what_may_be_left_is_named_and_the_rest_is_released(blob_directory):
    """Nothing is guessed where the leads do not add up either."""
    keys = [*pack(*CONTENTS), *pack(b"whole", b"x", key=KEY.replace("0190", "0191"))]
    path = blob_directory / KEY
    body = bytearray(path.read_bytes()[:-1])
    at = MemberKey.parse(keys[2]).offset - LEAD.size
    body[at : at + LEAD.size] = b"\xff\0\0\0"
    path.write_bytes(body)

    with pytest.raises(blobs.BlobsLeft) as raised:
        blobs.delete([keys[2], keys[0], keys[5]])
    assert raised.value.why.keys() == {keys[2]}
    assert packs.is_released(keys[0])
    assert packs.is_released(keys[5])
    assert CONTENTS[2] in path.read_bytes()


def test_a_killed_release_of_a_record_without_an_index_is_told(blob_directory):
    """The length of its marker went with the lead, so bytes of it may be left."""
    (_, answer), _ = record((b'{"m":1}', b"answer"), (b'{"m":2}', b"other"))
    path = blob_directory / RECORDS
    body = bytearray(path.read_bytes()[:-1])
    at = MemberKey.parse(answer).offset - LEAD.size
    body[at : at + LEAD.size] = bytes(LEAD.size)
    path.write_bytes(body)
    with pytest.raises(blobs.BlobsLeft):
        release([answer])


def test_an_input_behind_the_end_of_its_pack_is_gone(blob_directory):
    keys = pack(*CONTENTS)
    path = blob_directory / KEY
    path.write_bytes(path.read_bytes()[:6000])
    release(keys)
    assert path.stat().st_size == 6000
    assert not any(path.read_bytes()[: len(CONTENTS[0])])


def test_an_object_is_no_member_to_release(blob_directory):
    blobs.put("1/2/2026/11/30/09/u/input", b"x")
    with pytest.raises(ValueError, match="no member"):
        release(["1/2/2026/11/30/09/u/input"])


def test_a_disk_that_fails_is_told(blob_directory, monkeypatch):
    keys = pack(*CONTENTS)

    def fail(*_):
        holes.ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(holes, "_fallocate", fail)
    with pytest.raises(OSError) as raised:
        release([keys[0]])
    assert raised.value.errno == errno.EIO


def test_a_delete_releases_members_and_removes_objects(blob_directory):
    keys = pack(*CONTENTS)
    single = "1/2/2026/11/30/09/u/input"
    blobs.put(single, b"x")

    blobs.delete([keys[0], "", single])

    assert packs.is_released(keys[0])
    assert blobs.get(keys[2]) == CONTENTS[2]
    assert not (blob_directory / single).exists()


def test_a_put_survives_the_removal_of_its_directory(blob_directory, monkeypatch):
    pack(*CONTENTS)
    make = durable_files.make_directory
    deletes = iter([[KEY]])

    def make_and_lose(directory) -> None:
        make(directory)
        blobs.delete(next(deletes, []))

    monkeypatch.setattr(durable_files, "make_directory", make_and_lose)
    other = KEY.replace("0190-x", "0190-y")
    assert blobs.get(pack(*CONTENTS, key=other)[0]) == CONTENTS[0]


def test_a_pack_goes_with_its_last_member_in_any_order(blob_directory, ways):
    """Also where the file system has no holes, and the pack takes its blocks to the end."""
    middle_first = sorted(range(30), key=lambda number: abs(15 - number))
    for order in (range(30), reversed(range(30)), middle_first):
        keys = pack(*(b"x" * 3000 for _ in range(30)))
        for left, number in zip(range(29, -1, -1), order, strict=True):
            assert (blob_directory / KEY).exists()
            release([keys[number]])
            assert (blob_directory / KEY).exists() == (left > 0)
        assert not (blob_directory / KEY).parent.exists()


def test_a_few_members_are_looked_at_when_one_goes(blob_directory, monkeypatch):
    """Else the release of a pack, one by one, would take the square of its members."""
    keys = pack(*(b"x" * 10 for _ in range(300)))
    read = packs.read_leads
    looks = []

    def count(*given):
        looks.append(given)
        return read(*given)

    monkeypatch.setattr("istore.blobs.releases.read_leads", count)
    for key in keys:
        release([key])
    assert len(looks) < 2 * len(keys)


RELEASING = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "istore.settings"
import django
django.setup()
from django.conf import settings
settings.STORAGES["default"]["OPTIONS"]["location"] = sys.argv[1]
from istore.blobs.releases import release
print("ready", flush=True)
for line in sys.stdin:
    release([line.strip()])
    print("done", flush=True)
"""


def test_two_processes_that_release_the_last_two_leave_no_pack(blob_directory):
    others = [
        subprocess.Popen(
            [sys.executable, "-c", RELEASING, str(blob_directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(2)
    ]
    try:
        assert [other.stdout.readline() for other in others] == ["ready\n"] * 2
        for _ in range(40):
            keys = pack(b"a" * 3000, b"b" * 3000)
            for other, key in zip(others, keys, strict=True):
                other.stdin.write(f"{key}\n")
                other.stdin.flush()
            assert [other.stdout.readline() for other in others] == ["done\n"] * 2
            assert not (blob_directory / KEY).exists()
    finally:
        for other in others:
            with other:
                other.kill()


def test_a_release_that_was_killed_is_finished_by_the_next(blob_directory):
    keys = pack(*CONTENTS)
    failpoints.arm("packs.released=raise")
    try:
        with pytest.raises(failpoints.Failure):
            release(keys[:4])
    finally:
        failpoints.arm("")
    assert [is_missing(key) for key in keys] == [True] * 4 + [False]
    release([keys[4]])
    assert not (blob_directory / KEY).exists()


def test_bytes_that_a_killed_release_left_are_seen(blob_directory, monkeypatch):
    made = packs.build_inputs(KEY, [(bytes(16), each) for each in CONTENTS])
    blobs.put(KEY, made.body)
    keys = [each.content_key(KEY) for each in made.members]
    with monkeypatch.context() as context:
        context.setattr("istore.blobs.local_storage.erase_ranges", lambda *_: None)
        release([keys[0]])
    assert [packs.is_half_released(KEY, each) for each in made.members] == (
        [True, False, False, False, False]
    )
    release([keys[0]])
    assert not packs.is_half_released(KEY, made.members[0])


# -- reading beside releasing


def read_whole(key: str, content: bytes) -> bytes:
    return blobs.get(key)


def read_as_a_file(key: str, content: bytes) -> bytes:
    with blobs.open_blob(key) as file:
        return b"".join(iter(lambda: file.read(7000), b""))


def read_a_part(key: str, content: bytes) -> bytes:
    with blobs.open_blob(key) as file:
        file.seek(len(content) // 2)
        part = file.read(100)
    whole = content[: len(content) // 2] + part
    return whole + content[len(whole) :]


def read_from_records(key: str, content: bytes) -> bytes:
    member = MemberKey.parse(key)
    marker = str(MemberKey(member.pack, LEAD.size, member.offset - LEADS))
    found = packs.read_records([(marker, key)])
    if not found:
        raise FileNotFoundError
    ((text, answer),) = found.values()
    assert text == b"m" * len(text)
    return answer


READERS = [read_whole, read_as_a_file, read_a_part, read_from_records]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("size", [5_000, 3 * BLOCK])
def test_a_reader_beside_a_release_gets_the_whole_or_nothing(
    blob_directory, ways, read, size, monkeypatch
):
    """Never a byte of zeros: the release of one ends the reading of many."""
    monkeypatch.setattr(
        moves, "new_key_of", lambda key: None
    )  # threads ask no database
    content = b"x" * size
    wrong, reads = [], []

    def read_on(key: str, begun: threading.Barrier) -> None:
        begun.wait()
        try:
            while True:
                reads.append(key)
                if read(key, content) != content:
                    wrong.append(key)
        except FileNotFoundError:
            pass
        except BaseException as error:
            wrong.append(error)

    for number in range(30):
        pack_key = RECORDS.replace("0190-y", f"0190-{number}")
        keys = record((b"m" * size, content), (b"{}", b"stays"), key=pack_key)
        begun = threading.Barrier(3)
        threads = [
            threading.Thread(target=read_on, args=(keys[0][1], begun)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        begun.wait()
        release([keys[0][1]])
        for thread in threads:
            thread.join(20)
        assert blobs.get(keys[1][1]) == b"stays"
    assert reads
    assert wrong == []


def test_a_release_between_two_reads_ends_the_file(blob_directory):
    content = os.urandom(3 * BLOCK)
    keys = pack(content, b"stays")
    with blobs.open_blob(keys[0]) as file:
        assert file.read(10) == content[:10]
        release([keys[0]])
        assert file.read(10) == content[10:20]  # of the block that was read before
        file.seek(2 * BLOCK)
        with pytest.raises(FileNotFoundError):
            file.read(10)


def test_leads_go_before_the_first_byte(blob_directory, monkeypatch):
    (marker, answer), (other, _) = record((b"{1}", b"x" * 5000), (b"{2}", b"[2]"))
    seen = []

    def look(file, ranges):
        body = blobs.get(RECORDS)
        seen.append((is_missing(marker), is_missing(answer), b"x" * 5000 in body))
        seen.append(is_missing(other))

    monkeypatch.setattr("istore.blobs.local_storage.erase_ranges", look)
    release([answer])
    release([other])
    assert seen == [(True, True, True), False, (True, True, True), True]


# -- links


def follow(client, key: str, **headers) -> SimpleNamespace:
    link = urlsplit(blobs.presigned_url(key))
    answer = client.get(f"{link.path}?{link.query}", headers=headers)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return SimpleNamespace(status=answer.status_code, body=body, headers=answer.headers)


def test_a_link_to_a_member_opens_it_alone(storage, client, db):
    keys = pack(*CONTENTS)

    whole = follow(client, keys[2])
    part = follow(client, keys[2], range="bytes=5-9")

    assert (whole.status, whole.body) == (200, CONTENTS[2])
    name = keys[2].rpartition("/")[2].replace("#", "-")
    assert f'filename="{name}"' in whole.headers["Content-Disposition"]
    assert (part.status, part.body) == (206, CONTENTS[2][5:10])
    assert part.headers["Content-Range"] == "bytes 5-9/20"
    assert follow(client, keys[1]).body == b""


def test_a_link_follows_its_blob_for_as_long_as_it_says(
    blob_directory, client, settings
):
    """Into a pack, into the next one, and not to one that was released there."""
    settings.ISTORE_PRESIGN_SECONDS = 7 * 24 * 3600
    old = "1/2/2026/11/30/09/u/input"
    first, second = (KEY.replace("0190", name) for name in ("0191", "0192"))
    blobs.put(old, CONTENTS[2])
    link = urlsplit(blobs.presigned_url(old))
    (between,), (there,) = pack(b"x", key=first), pack(CONTENTS[2], key=second)
    moves.note({old: between, between: there})
    blobs.delete([old, between])

    moves.forget_old(now() + timedelta(days=7))
    answer = client.get(f"{link.path}?{link.query}")
    assert b"".join(answer.streaming_content) == CONTENTS[2]
    release([there])
    assert client.get(f"{link.path}?{link.query}").status_code == 404


def test_a_link_to_a_blob_that_was_moved_and_noted_as_released_is_closed(
    storage, client
):
    old = "1/2/2026/11/30/09/u/input"
    (there, _) = pack(CONTENTS[2], CONTENTS[2])
    moves.note({old: there})
    link = f"/blobs?{urlsplit(signed_link(old)).query}"
    assert client.get(link).status_code == 200
    release([there])
    assert client.get(link).status_code == 404


def test_only_links_to_objects_are_signed_by_the_object_store(storage):
    keys = pack(*CONTENTS)
    assert "X-Amz-Signature" not in blobs.presigned_url(keys[0])
    assert ("X-Amz-Signature" in blobs.presigned_url(KEY)) == (storage == "bucket")


def test_a_link_to_a_member_that_is_gone_is_a_404(storage, client, db):
    assert follow(client, f"{KEY}#8-5").status == 404


def test_a_link_to_a_released_member_is_a_404(storage, client, db):
    keys = pack(*CONTENTS)
    release([keys[0]])
    assert follow(client, keys[0]).status == 404
    assert follow(client, keys[4]).status == 200
