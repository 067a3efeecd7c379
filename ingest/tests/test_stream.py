import pytest
import redis

from ingest.stream import GROUP, STREAM, EventStream, Lag
from ingest.tests.builders import make_event
from tests.redis_databases import database_url


@pytest.fixture
def server(worker_id):
    """A database of the embedded server for each worker of the tests."""
    url = database_url(3, worker_id)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.url = url
        yield client
        client.flushdb()


@pytest.fixture
def stream(server):
    stream = EventStream(server.url, consumer="one")
    yield stream
    stream.close()


@pytest.fixture
def other(server):
    stream = EventStream(server.url, consumer="two")
    yield stream
    stream.close()


def test_what_is_published_is_read_once(stream):
    stream.publish([make_event(inference_id=str(n)) for n in range(3)])
    entries = stream.read(10, 1)
    assert [entry.payload for entry in entries] == [
        make_event(inference_id=str(n)).to_json() for n in range(3)
    ]
    assert [entry.deliveries for entry in entries] == [1, 1, 1]
    assert stream.read(10, 1) == []


def test_a_batch_is_as_large_as_asked(stream):
    stream.publish([make_event()] * 1200)
    assert len(stream.read(700, 1)) == 700
    assert len(stream.read(700, 1)) == 500


def test_a_new_group_begins_with_what_was_there_before_it(stream):
    stream.publish([make_event()])
    stream.ensure_group()
    stream.ensure_group()
    assert len(stream.read(10, 1)) == 1


def test_reading_survives_a_server_that_came_back_empty(stream, server):
    stream.ensure_group()
    server.flushdb()
    stream.publish([make_event()])
    assert len(stream.read(10, 1)) == 1
    server.flushdb()
    assert stream.reclaim(10, 0) == []
    assert stream.lag() == Lag(0, 0)


def test_what_was_not_acknowledged_is_reclaimed_with_its_deliveries(stream, other):
    stream.publish([make_event(inference_id=str(n)) for n in range(3)])
    first, second, third = stream.read(10, 1)
    stream.acknowledge([second.id])
    claimed = other.reclaim(10, 0)
    assert [(entry.id, entry.deliveries) for entry in claimed] == [
        (first.id, 2),
        (third.id, 2),
    ]
    assert [entry.deliveries for entry in stream.reclaim(1, 0)] == [3]
    assert other.reclaim(10, 60_000) == []


def test_more_is_reclaimed_than_one_look_of_the_server_finds(stream, other):
    stream.publish([make_event()] * 300)
    stream.read(300, 1)
    assert len(other.reclaim(250, 0)) == 250


def test_an_entry_without_an_event_has_an_empty_payload(stream, server):
    server.xadd(STREAM, {"something": "else"})
    assert [entry.payload for entry in stream.read(10, 1)] == [b""]


def test_trimming_keeps_all_that_is_pending_or_undelivered(stream, server):
    stream.publish([make_event()] * 6)
    assert stream.trim() == 0
    entries = stream.read(4, 1)
    stream.acknowledge([entry.id for entry in entries if entry != entries[2]])
    stream.trim()
    assert next(each.decode() for each, _ in server.xrange(STREAM)) == entries[2].id
    assert server.xlen(STREAM) == 4
    stream.acknowledge([entries[2].id])
    stream.trim()
    assert len(stream.read(10, 1)) == 2


def test_trimming_heeds_a_second_group(stream, server):
    stream.publish([make_event()] * 3)
    server.xgroup_create(STREAM, "another", id="0")
    stream.acknowledge([entry.id for entry in stream.read(10, 1)])
    assert stream.trim() == 0


def test_lag_counts_waiting_and_pending(stream, server):
    assert stream.lag() == Lag(0, 0)
    stream.publish([make_event()] * 5)
    assert stream.lag() == Lag(5, 0)
    entries = stream.read(2, 1)
    assert stream.lag() == Lag(3, 2)
    stream.acknowledge([entries[0].id])
    last = server.xrevrange(STREAM, count=2)[1][0]
    server.xdel(STREAM, last)  # the server's own count is unknown from here on
    assert stream.lag() == Lag(2, 1)
    assert server.xinfo_groups(STREAM)[0]["name"] == GROUP.encode()


def test_a_server_that_is_away_is_an_error_at_once():
    stream = EventStream("unix:///nowhere/redis.sock", consumer="one")
    with pytest.raises(redis.RedisError):
        stream.publish([make_event()])
    with pytest.raises(redis.RedisError):
        stream.read(1, 1)
