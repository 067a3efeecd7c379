"""What was set aside in the spool is captured after all."""

from __future__ import annotations

import zlib
from io import StringIO

import pytest
import redis
from django.core.management import CommandError, call_command

from ingest.events import InferenceEvent
from ingest.stream import STREAM
from istore import blobs, failpoints
from proxy.spool import replaying
from proxy.spool.frames import HEAD_1, MAGIC_1
from proxy.tests.builders import make_entry, prefix_of
from tests.redis_databases import database_url


@pytest.fixture
def server(worker_id, settings):
    url = database_url(9, worker_id)
    settings.ISTORE_REDIS_URL = url
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def spool(settings, tmp_path, server):
    settings.ISTORE_SPOOL_DIR = tmp_path / "spool"
    settings.ISTORE_SPOOL_DIR.mkdir()
    return settings.ISTORE_SPOOL_DIR


def payload(name: str) -> bytes:
    entry = make_entry(inference_ids=[name], prefixes=[prefix_of(name)])
    return b"".join(entry.pieces())


def framed(content: bytes) -> bytes:
    """As earlier releases did it, whose damaged segments were kept whole."""
    return HEAD_1.pack(len(content), zlib.crc32(content)) + content


def published(server) -> list[str]:
    entries = server.xrange(STREAM)
    return [InferenceEvent.from_json(e[b"event"]).inference_id for _, e in entries]


def replayed(*options) -> str:
    out = StringIO()
    call_command("replay_spool", *options, stdout=out)
    return out.getvalue()


def test_an_entry_that_can_be_read_now_is_captured_and_published(spool, server):
    (spool / "x.set-aside").write_bytes(payload("a"))

    message = replayed()

    assert message == "x.set-aside: 1 inferences published.\n"
    assert published(server) == ["a"]
    ((_, entry),) = server.xrange(STREAM)
    event = InferenceEvent.from_json(entry[b"event"])
    assert blobs.get(event.inference_storage_key) == b"{}"
    assert blobs.size(event.metadata_storage_key)
    assert not list(spool.iterdir())
    assert replayed() == ""


def test_a_replay_that_breaks_off_keeps_the_file_and_publishes_copies(spool, server):
    (spool / "x.set-aside").write_bytes(payload("a"))
    failpoints.arm("replaying.published=raise")
    try:
        with pytest.raises(failpoints.Failure):
            replayed()
    finally:
        failpoints.arm("")
    assert list(spool.iterdir())

    replayed()
    assert not list(spool.iterdir())
    assert published(server) == ["a", "a"]  # copies, which the store drops


def test_an_entry_that_still_cannot_be_read_stays(spool, server):
    (spool / "x.set-aside").write_bytes(b"\x01")
    (spool / "y.set-aside").write_bytes(payload("a"))

    with pytest.raises(CommandError, match="1 files could not be replayed whole"):
        replayed()

    assert [path.name for path in spool.iterdir()] == ["x.set-aside"]
    assert published(server) == ["a"]


def test_of_a_damaged_segment_the_whole_entries_are_taken(spool, server):
    damaged = bytearray(framed(payload("b")))
    damaged[-1] ^= 1
    content = MAGIC_1 + framed(payload("a")) + damaged + framed(payload("c"))
    (spool / "o-1.damaged").write_bytes(content)

    with pytest.raises(CommandError):
        replayed()
    assert published(server) == ["a", "c"]
    assert list(spool.iterdir())

    with pytest.raises(CommandError):
        replayed("--discard")
    assert not list(spool.iterdir())
    assert published(server) == ["a", "c", "a", "c"]  # copies, which the store drops


def test_a_segment_that_breaks_off_gives_what_is_whole(spool):
    content = MAGIC_1 + framed(payload("a")) + framed(payload("b"))[:-3]
    (spool / "o-1.damaged").write_bytes(content)
    (spool / "o-2.damaged").write_bytes(b"no segment")

    answer = list(replaying.replay(spool))

    assert [(each.inferences, each.lost) for each in answer] == [(1, 1), (0, 1)]


def test_listing_changes_nothing(spool, server):
    (spool / "x.set-aside").write_bytes(payload("a"))

    assert "x.set-aside" in replayed("--list")
    assert published(server) == []
    assert list(spool.iterdir())
