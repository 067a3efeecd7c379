"""What observed functions record, and that they neither wait nor fail because of it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx2
import pytest

from inference_store import Client, Retries
from inference_store.observing import (
    Recorder,
    Unsent,
    current_span,
    observe,
    observing,
)
from inference_store.observing.values import Bounded


class Store:
    """A receiver of spans; ``status`` is what it answers with, ``is_slow`` holds answers back."""

    def __init__(self) -> None:
        self.status, self.refused = 200, 0
        self.requests: list[httpx2.Request] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        self.may_answer.wait(10)
        if self.status != 200:
            return httpx2.Response(self.status, json={"message": "not now"})
        if self.refused:
            partial = {"rejectedSpans": str(self.refused), "errorMessage": "too long"}
            return httpx2.Response(200, json={"partialSuccess": partial})
        return httpx2.Response(200, json={})

    @property
    def spans(self) -> list[dict]:
        return [
            span
            for request in self.requests
            for span in json.loads(request.content)["resourceSpans"][0]["scopeSpans"][
                0
            ]["spans"]
        ]


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def recorder(store):
    transport = httpx2.MockTransport(store)
    once = Retries(attempts=1)
    client = Client("http://store.example", "ist_x", transport=transport, retries=once)
    return Recorder(client, service="shop", seconds=0.02)


def attributes(span: dict) -> dict[str, str]:
    return {each["key"]: each["value"]["stringValue"] for each in span["attributes"]}


def test_a_call_is_a_span_with_what_it_was_asked_and_returned(store, recorder):
    @observe(kind="tool", recorder=recorder)
    def add(one: int, other: int = 2) -> dict:
        """Adds."""
        return {"sum": one + other}

    assert add(1, other=3) == {"sum": 4}
    assert add.__doc__ == "Adds."
    assert not recorder.flush()

    (span,) = store.spans
    said = attributes(span)
    assert json.loads(said["input.value"]) == {"one": 1, "other": 3}
    assert json.loads(said["output.value"]) == {"sum": 4}
    assert said["openinference.span.kind"] == "TOOL"
    assert span["name"].endswith("add")
    assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"])
    assert store.requests[0].headers["Authorization"] == "Bearer ist_x"


def test_calls_within_a_call_are_its_children(store, recorder):
    @observe(kind="llm", model="gpt", recorder=recorder)
    def ask(question: str) -> str:
        return question.upper()

    @observe(kind="agent", recorder=recorder)
    def answer(question: str) -> str:
        current_span().set(session="s-1", user="u-1", metadata={"camera": "north"})
        return ask(question)

    answer("why?")
    recorder.flush()

    inner, outer = store.spans
    assert inner["parentSpanId"] == outer["spanId"]
    assert inner["traceId"] == outer["traceId"]
    assert "parentSpanId" not in outer
    assert attributes(inner)["llm.model_name"] == "gpt"
    assert attributes(inner)["session.id"] == "s-1"
    assert json.loads(attributes(outer)["metadata"]) == {"camera": "north"}
    assert attributes(outer)["input.value"] == "why?"


def test_what_a_function_raises_is_recorded_and_raised(store, recorder):
    @observe(recorder=recorder)
    def fail() -> None:
        raise KeyError("ship")

    with pytest.raises(KeyError, match="ship"):
        fail()
    recorder.flush()

    (span,) = store.spans
    assert span["status"] == {"code": 2, "message": "KeyError: 'ship'"}


def test_streams_are_recorded_as_far_as_they_were_read(store, recorder):
    @observe(recorder=recorder)
    def words(text: str):
        got = yield from ()
        for word in text.split():
            got = yield word
        return got

    assert list(words("a b c")) == ["a", "b", "c"]
    broken_off = words("a b c")
    next(broken_off)
    broken_off.close()
    recorder.flush()

    whole, part = store.spans
    assert attributes(whole)["output.value"] == "abc"
    assert attributes(part)["output.value"] == "a"
    assert part["status"] == {"code": 1}


async def test_coroutines_and_their_streams_are_observed(store, recorder):
    @observe(recorder=recorder)
    async def inner(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    @observe(recorder=recorder)
    async def stream(number: int):
        for each in range(number):
            yield await inner(each)

    assert [each async for each in stream(3)] == [0, 2, 4]
    recorder.flush()

    *children, parent = store.spans
    assert {each["parentSpanId"] for each in children} == {parent["spanId"]}
    assert json.loads(attributes(parent)["output.value"]) == [0, 2, 4]
    assert current_span() is None


def test_parallel_tasks_do_not_mix_their_traces(store, recorder):
    @observe(recorder=recorder)
    async def inner(name: str) -> str:
        await asyncio.sleep(0.01)
        return name

    @observe(recorder=recorder)
    async def outer(name: str) -> str:
        return await inner(name)

    async def both() -> None:
        await asyncio.gather(outer("a"), outer("b"))

    asyncio.run(both())
    recorder.flush()

    by_id = {span["spanId"]: span for span in store.spans}
    for span in by_id.values():
        if parent := by_id.get(span.get("parentSpanId")):
            assert parent["traceId"] == span["traceId"]
            assert attributes(parent)["input.value"] == attributes(span)["input.value"]
    assert len({span["traceId"] for span in by_id.values()}) == 2


def test_a_block_is_observed(store, recorder):
    with pytest.raises(ZeroDivisionError), observing("b", recorder=recorder) as span:
        span.input = [1]
        span.output = 1 / 0
    recorder.flush()
    (sent,) = store.spans
    assert sent["status"]["code"] == 2
    assert attributes(sent)["input.value"] == "[1]"


def test_a_full_queue_drops_and_counts(store, recorder):
    recorder.spans_max = 5
    store.may_answer.clear()

    @observe(recorder=recorder)
    def ask(number: int) -> int:
        return number

    begun = time.monotonic()
    for number in range(300):
        ask(number)
    assert time.monotonic() - begun < 2

    unsent = recorder.flush(0.05)
    assert unsent.dropped
    assert unsent.waiting
    assert unsent.dropped + unsent.waiting <= 300
    store.may_answer.set()
    assert not recorder.flush()
    assert len(store.spans) == 300 - unsent.dropped


def test_the_queue_is_bounded_by_bytes(store, recorder):
    recorder.bytes_max = 10_000
    store.may_answer.clear()

    @observe(recorder=recorder)
    def ask(text: str) -> None:
        return None

    for _ in range(10):
        ask("x" * 4_000)
    assert recorder.flush(0.05).dropped >= 7
    store.may_answer.set()


def test_what_cannot_be_sent_now_is_sent_later(store, recorder):
    store.status = 503

    @observe(recorder=recorder)
    def ask() -> int:
        return 1

    ask()
    unsent = recorder.flush(0.3)
    assert unsent.waiting == 1
    assert "not now" in unsent.error or "503" in unsent.error

    store.status = 200
    assert not recorder.flush()
    assert len({span["spanId"] for span in store.spans}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_what_is_refused_is_told_and_not_sent_again(status, store, recorder):
    store.status = status

    @observe(recorder=recorder)
    def ask() -> int:
        return 1

    ask()
    unsent = recorder.flush()
    assert (unsent.waiting, unsent.refused) == (0, 1)
    assert len(store.requests) == 1
    assert not recorder.flush()


def test_spans_that_the_store_rejects_are_told(store, recorder):
    store.refused = 1
    observe(lambda: 1, recorder=recorder)()
    assert recorder.flush() == Unsent(refused=1, error="too long")


def test_no_value_makes_a_function_fail(store, recorder):
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    @dataclass
    class Pair:
        one: object
        other: object

    loop: list[object] = []
    loop.append(loop)

    @observe(recorder=recorder)
    def ask(value: object) -> object:
        return value

    values = [
        Odd(),
        loop,
        Pair(1, b"x"),
        float("nan"),
        "\ud800",
        {1: {2: 3}},
        "x" * 10**7,
    ]
    for value in values:
        assert ask(value) is value
    assert not recorder.flush()
    assert len(store.spans) == len(values)
    assert max(len(request.content) for request in store.requests) < 4_000_000


class Mute(Exception):
    def __str__(self) -> str:
        raise Mute


def test_an_error_that_cannot_say_itself_is_recorded_by_its_type(store, recorder):
    @observe(recorder=recorder)
    def fail() -> None:
        raise Mute

    with pytest.raises(Mute):
        fail()
    recorder.flush()
    assert store.spans[0]["status"] == {"code": 2, "message": "Mute"}


def test_a_redaction_that_raises_what_cannot_be_said_drops_the_span(store, recorder):
    def redact(side: str, value: object) -> object:
        raise Mute

    recorder.redact = redact
    with observing("b", recorder=recorder):
        pass
    assert recorder.flush() == Unsent(dropped=1, error="Mute")


def test_half_a_surrogate_pair_in_an_id_costs_no_span(store, recorder):
    with observing("n\ud800", recorder=recorder) as span:
        span.set(session="s\udc80", user="u\ud800")
    assert not recorder.flush()
    assert attributes(store.spans[0])["session.id"] == "s\udc80"


def test_a_client_that_cannot_be_made_is_told(monkeypatch):
    recorder = Recorder(seconds=0.02)

    def fail() -> None:
        raise ValueError("no address")

    monkeypatch.setattr(recorder, "_connected", fail)
    with observing("b", recorder=recorder):
        pass
    unsent = recorder.flush(timeout=2)
    assert (unsent.waiting, unsent.refused, unsent.error) == (0, 1, "no address")


def test_what_is_thrown_into_a_generator_reaches_it(store, recorder):
    seen = []

    @contextmanager
    @observe(recorder=recorder)
    def block():
        try:
            yield 1
        except ZeroDivisionError:
            seen.append("sync")

    @asynccontextmanager
    @observe(recorder=recorder)
    async def later():
        try:
            yield 1
        except ZeroDivisionError:
            seen.append("async")

    async def use() -> None:
        async with later():
            raise ZeroDivisionError

    with block():
        raise ZeroDivisionError
    asyncio.run(use())
    with pytest.raises(KeyError), block():
        raise KeyError
    assert not recorder.flush()
    assert seen == ["sync", "async"]
    assert [each["status"]["code"] for each in store.spans] == [1, 1, 2]


def test_redaction_decides_what_is_recorded(store, recorder):
    def redact(side: str, value: object) -> object:
        if value == "raise":
            raise ValueError
        return "***" if side == "input" else value

    recorder.redact = redact

    @observe(recorder=recorder)
    def ask(text: str) -> str:
        return "fine"

    ask("secret")
    ask("raise")
    assert recorder.flush().dropped == 1
    (span,) = store.spans
    assert attributes(span)["input.value"] == "***"
    assert b"secret" not in store.requests[0].content


def test_a_sample_takes_whole_traces(store, recorder):
    recorder.sample = 0

    @observe(recorder=recorder)
    def ask() -> int:
        return 1

    ask()
    assert not recorder.flush()
    assert store.requests == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork.")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_sends_its_own_spans_alone(store, recorder):
    @observe(recorder=recorder)
    def ask(name: str) -> str:
        return name

    ask("parent")
    recorder.flush()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        store.requests.clear()
        ask("child")
        unsent = recorder.flush()
        told = [attributes(span)["input.value"] for span in store.spans]
        os.write(write, json.dumps([bool(unsent), told]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(os.read(read, 1000)) == [False, ["child"]]
    os.close(read)
    os.close(write)


def test_a_kind_that_is_none_is_refused_at_once():
    with pytest.raises(ValueError, match="chain"):
        observe(kind="thing")(lambda: 1)


def test_values_are_cut_where_they_are_too_long():
    bounded = Bounded(10)
    written = json.loads(bounded.write({"a": "x" * 50, "b": list(range(10**6))}))
    assert bounded.is_cut
    assert len(json.dumps(written)) < 100
