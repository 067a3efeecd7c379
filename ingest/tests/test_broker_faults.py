"""A broker that stalls or answers rubbish neither holds the listener nor ends it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingest import stream as streams
from ingest.listener import Listener
from ingest.stream import EventStream
from ingest.tests.builders import capture, make_event
from istore import best_effort_cache
from istore.tasks import broker
from istore.tests.broker_relay import Relay

RUBBISH = [
    b"rubbish\r\n",
    b"\r\n",
    b":\r\n",
    b":12x\r\n",
    b":7\r\n",
    b"+OK\r\n",
    b"+QUEUED\r\n",
    b"$-7\r\n",
    b"$2147483647\r\nx",
    b"$99999999999999999999999\r\nx",
    b"$3\r\nabcdef\r\n",
    b"*-5\r\n",
    b"*0\r\n",
    b"*1000000000\r\n",
    b"*1\r\n*1\r\n$1\r\nx\r\n",
    b"*2\r\n:1\r\n:2\r\n",
    b"*3\r\n$3\r\n0-0\r\n:5\r\n*0\r\n",
    b"*3\r\n$3\r\n9-9\r\n*0\r\n*0\r\n",  # a cursor that never ends
    b"*1\r\n*2\r\n$13\r\nistore:events\r\n*1\r\n*2\r\n$3\r\nbad\r\n*0\r\n",
    b"*1\r\n*2\r\n$13\r\nistore:events\r\n*1\r\n*2\r\n$3\r\n1-1\r\n:4\r\n",
    b"*1\r\n*2\r\n$13\r\nistore:events\r\n:1\r\n",
    b">2\r\n+message\r\n+x\r\n",
    b"%1\r\n+a\r\n:1\r\n",
    b"~1\r\n+a\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"*1\r\n" * 50 + b":1\r\n",
    b"-ERR what is that\r\n",
    b"-LOADING\r\n",
    b"\x00\xff\xfe" * 40 + b"\r\n",
    b"x" * 200_000,
]
COMMANDS = {
    "publish": (b"XADD", lambda s: s.publish([make_event()])),
    "ensure_group": (b"XGROUP", lambda s: s.ensure_group()),
    "read": (b"XREADGROUP", lambda s: s.read(10, 1)),
    "reclaim": (b"XAUTOCLAIM", lambda s: s.reclaim(10, 0)),
    "acknowledge": (b"XACK", lambda s: s.acknowledge(["1-1"])),
    "trim": (b"XINFO", lambda s: s.trim()),
    "trim pending": (b"XPENDING", lambda s: s.trim()),
    "lag": (b"XINFO", lambda s: s.lag()),
}


@pytest.fixture
def relay(server):
    relay = Relay(server.url)
    yield relay
    relay.stop()


@pytest.fixture
def relayed(relay, monkeypatch):
    """A stream behind the relay, which is patient for half a second."""
    monkeypatch.setattr(streams, "SECONDS", 0.5)
    monkeypatch.setattr(streams, "BLOCK_SECONDS", 0.1)
    monkeypatch.setattr(streams, "RECLAIM_ROUNDS", 20)
    monkeypatch.setattr(broker, "REPLY_SECONDS", 0.5)
    stream = EventStream(relay.url, consumer="one")
    stream.ensure_group()
    stream.publish([make_event(inference_id="first")])
    yield stream
    stream.close()


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_half_an_answer_is_not_waited_for_for_ever(relay, relayed, name, share):
    command, ask = COMMANDS[name]
    met = threading.Event()

    def stall(asked, reply):
        if asked != command:
            return reply, False
        met.set()
        return reply[: int(len(reply) * share)], True

    relay.fault = stall
    began = time.monotonic()
    with pytest.raises(redis.RedisError):
        ask(relayed)
    assert met.is_set() and time.monotonic() - began < 15
    relay.fault = None
    ask(relayed)  # over a connection of its own


def test_an_answer_that_comes_drop_by_drop_has_an_end(monkeypatch):
    """Each drop within the timeout of the socket, for ever."""
    monkeypatch.setattr(broker, "REPLY_SECONDS", 1.0)
    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client, _ = listening.accept()
        with client, suppress(OSError):
            while b"GET" not in (asked := client.recv(1000)):
                client.sendall(b"+OK\r\n" * asked.count(b"*"))
            client.sendall(b"$1000\r\n")
            while True:
                client.sendall(b"x")
                time.sleep(0.1)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with broker.connect(
        f"redis://127.0.0.1:{listening.getsockname()[1]}", seconds=1.0
    ) as client:
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            client.get("x")
        assert time.monotonic() - began < 10
    thread.join(10)
    listening.close()


@pytest.mark.parametrize("name", COMMANDS)
def test_an_answer_of_another_form_is_a_failure_that_may_be_tried_again(
    relay, relayed, name
):
    command, ask = COMMANDS[name]
    for rubbish in RUBBISH:
        relay.fault = lambda asked, reply, said=rubbish: (
            (said, False) if asked == command else (reply, False)
        )
        with suppress(redis.RedisError):
            ask(relayed)  # some are answers in this place
        relay.fault = None
        relayed.read(10, 1)


ATOMS = st.one_of(
    st.integers(-9, 9).map(lambda n: b":%d\r\n" % n),
    st.binary(max_size=8).map(lambda b: b"$%d\r\n%s\r\n" % (len(b), b)),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"+OK\r\n", b"-ERR x\r\n", b"*0\r\n"]),
    st.sampled_from([b"$3\r\n1-1\r\n", b"$13\r\nistore:events\r\n"]),
)
REPLIES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4).map(
        lambda parts: b"*%d\r\n" % len(parts) + b"".join(parts)
    ),
    max_leaves=12,
)


@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(REPLIES, st.sampled_from(sorted(COMMANDS)))
def test_answers_of_random_form_raise_what_the_listener_outlasts(
    relay, relayed, reply, name
):
    command, ask = COMMANDS[name]
    relay.fault = lambda asked, real: (
        (reply, False) if asked == command else (real, False)
    )
    try:
        ask(relayed)
    except redis.RedisError:
        pass
    finally:
        relay.fault = None


@pytest.mark.django_db
def test_the_listener_outlasts_stalls_and_rubbish(relay, relayed, model, monkeypatch):
    faults = iter(
        [
            lambda reply: (reply[: len(reply) // 2], True),
            lambda reply: (b"*1\r\n:1\r\n", False),
            lambda reply: (b"$2147483647\r\nx", True),
            lambda reply: (b">1\r\n+x\r\n", False),
        ]
    )

    def plant(asked, reply):
        if asked != b"XREADGROUP":
            return reply, False
        fault = next(faults, None)
        return fault(reply) if fault else (reply, False)

    stopping = threading.Event()
    listener = Listener(relayed, stopping)
    relayed.read(10, 1)
    before = broker.wrong_replies["XREADGROUP"]
    relay.fault = plant
    relayed.publish([capture(model, "a")])
    for _ in range(20):
        listener.step(block_ms=10)
        if model.inferences.filter(inference_id="a").exists():
            break
        monkeypatch.setattr(listener, "_idle_ms", 0)  # what a lost answer delivered
        listener._reclaim.make_due()
    assert model.inferences.filter(inference_id="a").exists()
    assert broker.wrong_replies["XREADGROUP"] > before


def test_what_may_be_forgotten_is_forgotten_when_the_broker_answers_rubbish(
    relay, settings, monkeypatch
):
    monkeypatch.setattr(broker, "REPLY_SECONDS", 0.3)
    cache = settings.CACHES["default"]
    options = {**cache["OPTIONS"], "socket_timeout": 0.3}
    settings.CACHES = {"default": {**cache, "LOCATION": relay.url, "OPTIONS": options}}
    best_effort_cache.remember("k", {"a": 1})
    assert best_effort_cache.recall("k") == {"a": 1}
    for rubbish in [*RUBBISH, b"$4\r\nnope\r\n"]:
        relay.fault = lambda asked, reply, said=rubbish: (said, False)
        best_effort_cache.remember("k", 1)
        best_effort_cache.recall("k")
    relay.fault = None
    best_effort_cache.remember("k", {"a": 2})
    assert best_effort_cache.recall("k") == {"a": 2}
