"""Members of packs: read by ranges, released one by one, and opened by links of our own."""

from __future__ import annotations

import errno
import io
import os
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from istore import blobs
from istore.blobs import holes, packs
from istore.blobs.keys import MemberKey
from istore.blobs.packs import NewMember, build_pack
from istore.blobs.range_file import BLOCK, RangeFile
from istore.tests.s3_relay import BUCKET, Answer, Relay, client, options, start_moto

KEY = "1/2/2026/11/30/09/0190-x.inputs"
CONTENTS = [os.urandom(5000), b"", os.urandom(20), b"x", os.urandom(3 * BLOCK)]


def pack(*contents: bytes, key: str = KEY) -> list[str]:
    """Put a pack of these contents, and return the keys of its members."""
    content, keys = build_pack(
        key, [NewMember(str(n), "input", each) for n, each in enumerate(contents)]
    )
    blobs.put(key, content)
    return keys


@pytest.fixture(scope="module")
def moto():
    server = start_moto()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def relay(moto, settings):
    """The default storage is a bucket behind this relay."""
    relay = Relay(moto)
    relay.start()
    held = client(relay.url)
    held.create_bucket(Bucket=BUCKET)
    for each in held.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        held.delete_object(Bucket=BUCKET, Key=each["Key"])
    use_bucket(settings, relay)
    relay.requests.clear()
    yield relay
    relay.stop()


def use_bucket(settings, relay: Relay, bucket: str = BUCKET) -> None:
    backend = "istore.blobs.s3_storage.S3Storage"
    storage = {"BACKEND": backend, "OPTIONS": options(relay.url, bucket)}
    settings.STORAGES = {**settings.STORAGES, "default": storage}


@pytest.fixture(params=["disk", "bucket"])
def storage(request):
    """Each test runs on both storages."""
    if request.param == "bucket":
        request.getfixturevalue("relay")
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
    range_ = RangeFile(lambda o, n: whole[o : o + n], offset, length).buffered()
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
    for key in (f"{KEY}#0-5", f"{KEY}#0-0"):
        with pytest.raises(FileNotFoundError):
            blobs.get(key)
    with pytest.raises(FileNotFoundError):
        blobs.open_blob(f"{KEY}#0-5")
    with pytest.raises(FileNotFoundError):
        blobs.read_ranges(KEY, [(0, 5)])
    with pytest.raises(FileNotFoundError):
        packs.read_index(KEY)


@pytest.mark.parametrize("offset", [95, 100, 5000])
def test_a_range_that_the_pack_does_not_have_is_damage(storage, offset):
    blobs.put(KEY, bytes(100))
    with pytest.raises(blobs.BlobDamaged):
        blobs.get(f"{KEY}#{offset}-10")
    with pytest.raises(blobs.BlobDamaged):
        blobs.open_blob(f"{KEY}#{offset}-10")


def test_a_file_that_is_open_stays_readable_when_its_pack_goes(blob_directory):
    keys = pack(*CONTENTS)
    with blobs.open_blob(keys[4]) as file:
        blobs.delete([KEY])
        assert file.read() == CONTENTS[4]
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
    assert blobs.read_ranges(KEY, wanted) == [whole[o : o + n] for o, n in wanted]


def test_walking_yields_packs_and_no_members(storage):
    pack(*CONTENTS)
    assert [each.key for each in blobs.walk("1/2/")] == [KEY]


# -- requests to an object store


def test_a_member_is_one_ranged_request(relay):
    keys = pack(*CONTENTS)
    asked_for(relay)

    assert blobs.get(keys[2]) == CONTENTS[2]
    assert asked_for(relay) == ["GET bytes=5000-5019"]

    blobs.size(keys[2])
    assert asked_for(relay) == []


def test_an_open_member_is_read_block_by_block(relay):
    keys = pack(*CONTENTS)
    asked_for(relay)

    with blobs.open_blob(keys[4]) as file:
        assert file.read(10) == CONTENTS[4][:10]
    assert asked_for(relay) == [f"GET bytes=5021-{5021 + BLOCK - 1}"]
    with blobs.open_blob(keys[4]) as file:
        file.seek(2 * BLOCK + 7)
        assert file.read(10) == CONTENTS[4][2 * BLOCK + 7 :][:10]
    assert len(asked_for(relay)) == 2


def test_ranges_close_together_are_one_request(relay):
    pack(*CONTENTS)
    asked_for(relay)

    found = blobs.read_ranges(KEY, [(5021, 10), (0, 7), (5000, 20)])

    assert found == [CONTENTS[4][:10], CONTENTS[0][:7], CONTENTS[2]]
    assert asked_for(relay) == ["GET bytes=0-5030"]


def test_the_index_of_a_pack_is_two_requests_at_most(relay):
    pack(*CONTENTS)
    asked_for(relay)
    assert len(packs.read_index(KEY)) == len(CONTENTS)
    assert asked_for(relay) == ["GET bytes=-65536"]

    pack(*[b"x"] * 2000)
    asked_for(relay)
    assert len(packs.read_index(KEY)) == 2000
    assert len(asked_for(relay)) == 2


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
    if request.method != "GET":
        return send(request)
    headers = {k: v for k, v in request.headers.items() if k.lower() != "range"}
    return send(replace(request, headers=headers))


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


def test_a_member_on_an_object_store_is_not_released_in_silence(relay):
    keys = pack(*CONTENTS)
    for act in (blobs.release, blobs.delete):
        with pytest.raises(NotImplementedError):
            act([keys[0]])
    assert blobs.get(keys[0]) == CONTENTS[0]


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
    contents = [bytes([1 + n]) * size for n, size in enumerate(sizes)]
    keys = pack(*contents)
    order = data.draw(st.lists(st.sampled_from(range(len(keys))), max_size=10))
    calls = data.draw(st.integers(1, 3))

    for start in range(calls):
        blobs.release([keys[number] for number in order[start::calls]])

    for number, (key, content) in enumerate(zip(keys, contents, strict=True)):
        if number in order:
            content = bytes(len(content))
        assert blobs.get(key) == content
        assert blobs.is_released(key) == (number in order and len(content) > 0)
    assert len(packs.read_index(KEY)) == len(keys)


def blocks(directory) -> int:
    return (directory / KEY).stat().st_blocks * 512


def test_the_blocks_of_a_released_member_are_given_back(blob_directory):
    keys = pack(b"a" * 100_000, b"b" * 1_000_000, b"c" * 100_000)
    before, size = blocks(blob_directory), (blob_directory / KEY).stat().st_size

    blobs.release([keys[1]])

    assert before - blocks(blob_directory) >= 1_000_000 - 2 * 4096
    assert (blob_directory / KEY).stat().st_size == size


def test_small_members_give_their_blocks_back_one_after_the_other(blob_directory):
    keys = pack(*(b"x" * 1000 for _ in range(1000)))
    before = blocks(blob_directory)

    for key in keys[100:900:2] + keys[101:900:2]:
        blobs.release([key])

    assert before - blocks(blob_directory) >= 800 * 1000 - 2 * 4096
    assert blobs.get(keys[99]) == blobs.get(keys[900]) == b"x" * 1000


def test_a_release_is_synced_before_it_returns(blob_directory, ways, monkeypatch):
    keys = pack(*CONTENTS)
    synced = []
    fsync = os.fsync

    def see(descriptor: int) -> None:
        synced.append(os.pread(descriptor, len(CONTENTS[0]), 0))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", see)
    blobs.release([keys[0], keys[2]])
    assert synced == [bytes(len(CONTENTS[0]))]


def test_what_is_missing_counts_as_released(blob_directory):
    keys = pack(*CONTENTS)
    blobs.release([keys[0], "1/2/2026/11/30/10/absent.inputs#0-5"])
    blobs.release([keys[0]])
    assert blobs.is_released(keys[0])


def test_a_range_beyond_the_pack_does_not_make_it_longer(blob_directory, ways):
    blobs.put(KEY, b"x" * 100)
    blobs.release([f"{KEY}#90-1000", f"{KEY}#5000-1000"])
    assert blobs.get(f"{KEY}#0-100") == b"x" * 90 + bytes(10)
    assert (blob_directory / KEY).stat().st_size == 100


def test_an_object_is_no_member_to_release(blob_directory):
    blobs.put("1/2/2026/11/30/09/u/input", b"x")
    with pytest.raises(ValueError, match="no member"):
        blobs.release(["1/2/2026/11/30/09/u/input"])


def test_a_disk_that_fails_is_told(blob_directory, monkeypatch):
    keys = pack(*CONTENTS)

    def fail(*_):
        holes.ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(holes, "_fallocate", fail)
    with pytest.raises(OSError) as raised:
        blobs.release([keys[0]])
    assert raised.value.errno == errno.EIO


def test_a_delete_releases_members_and_removes_objects(blob_directory):
    keys = pack(*CONTENTS)
    single = "1/2/2026/11/30/09/u/input"
    blobs.put(single, b"x")

    blobs.delete([keys[0], "", single])

    assert blobs.is_released(keys[0])
    assert blobs.get(keys[2]) == CONTENTS[2]
    assert not (blob_directory / single).exists()


def test_a_put_survives_the_removal_of_its_directory(blob_directory, monkeypatch):
    pack(*CONTENTS)
    make = blobs.durable_files.make_directory
    deletes = iter([[KEY]])

    def make_and_lose(directory) -> None:
        make(directory)
        blobs.delete(next(deletes, []))

    monkeypatch.setattr(blobs.durable_files, "make_directory", make_and_lose)
    other = KEY.replace("0190-x", "0190-y")
    assert blobs.get(pack(*CONTENTS, key=other)[0]) == CONTENTS[0]


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
    assert 'filename="0190-x.inputs-5000-20"' in whole.headers["Content-Disposition"]
    assert (part.status, part.body) == (206, CONTENTS[2][5:10])
    assert part.headers["Content-Range"] == "bytes 5-9/20"
    assert follow(client, keys[1]).body == b""


def test_only_links_to_objects_are_signed_by_the_object_store(storage):
    keys = pack(*CONTENTS)
    assert "X-Amz-Signature" not in blobs.presigned_url(keys[0])
    assert ("X-Amz-Signature" in blobs.presigned_url(KEY)) == (storage == "bucket")


def test_a_link_to_a_member_that_is_gone_is_a_404(storage, client, db):
    assert follow(client, f"{KEY}#0-5").status == 404


def test_a_link_to_a_released_member_is_a_404(blob_directory, client, db):
    keys = pack(*CONTENTS)
    blobs.release([keys[0]])
    assert follow(client, keys[0]).status == 404
    assert follow(client, keys[4]).status == 200
