"""Bodies in processes of their own: values and errors come back, and so does the process."""

from __future__ import annotations

import asyncio
import os

import pytest

from protocols.open_inference import V2Error, read_json
from proxy import parser_processes
from proxy.parser_processes import NotParsed, ParserProcesses
from proxy.tests.parser_functions import (
    die,
    fail,
    length_of,
    process_of,
    sleep_for,
    use_memory,
)


@pytest.fixture
async def processes():
    found = ParserProcesses(1)
    yield found
    for each in found._idle:
        each.stop()


async def test_a_body_is_read_in_another_process(processes):
    child = await processes.run(process_of, b"")
    assert child != os.getpid()
    assert await processes.run(process_of, b"") == child
    assert await processes.run(length_of, bytes(30 * 2**20), 2) == 60 * 2**20


async def test_what_a_function_raises_comes_back(processes):
    with pytest.raises(V2Error, match="not valid JSON"):
        await processes.run(read_json, b"{")
    with pytest.raises(NotParsed):
        await processes.run(fail, b"")
    assert await processes.run(read_json, b"[1]") == [1]


async def test_one_that_dies_takes_too_long_or_too_much_is_replaced(
    processes, monkeypatch
):
    with pytest.raises(NotParsed):
        await processes.run(die, b"")
    with pytest.raises(NotParsed, match="memory"):
        await processes.run(use_memory, b"%d" % 2**40)
    monkeypatch.setattr(parser_processes, "SECONDS", 3)
    with pytest.raises(NotParsed):
        await processes.run(sleep_for, b"60")
    monkeypatch.undo()
    assert await processes.run(length_of, b"abc", 1) == 3


async def test_a_call_that_is_given_up_leaves_the_process_to_the_next(processes):
    await processes.run(length_of, b"", 1)
    task = asyncio.create_task(processes.run(sleep_for, b"0.5"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await processes.run(length_of, b"abc", 1) == 3


async def test_a_call_that_is_cancelled_twice_keeps_its_process_until_it_is_done(
    processes,
):
    await processes.run(length_of, b"", 1)  # started
    task = asyncio.ensure_future(processes.run(sleep_for, b"1"))
    for _ in range(2):
        await asyncio.sleep(0.1)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not processes._idle
    assert await processes.run(length_of, b"abc", 1) == 3


async def test_a_body_that_is_too_large_to_read_is_refused(processes, monkeypatch):
    monkeypatch.setattr(parser_processes, "BODY_BYTES", 100)
    with pytest.raises(NotParsed, match="too large"):
        await processes.run(length_of, bytes(100), 1)
    assert await processes.run(length_of, bytes(99), 1) == 99
