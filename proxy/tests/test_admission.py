"""Lookups while the database hangs."""

from __future__ import annotations

import asyncio
import threading

from proxy import targets
from proxy.targets import THREADS, Admission, DatabaseAway


def test_lookups_that_wait_behind_hanging_ones_are_answered_and_not_cancelled(
    monkeypatch,
):
    monkeypatch.setattr(targets, "DATABASE_SECONDS", 0.4)
    answers = threading.Event()

    async def ask() -> list[object]:
        admission = Admission()
        hanging = [admission.in_thread(answers.wait) for _ in range(THREADS)]
        began = [asyncio.ensure_future(each) for each in hanging]
        await asyncio.sleep(0.2)
        began.append(asyncio.ensure_future(admission.in_thread(answers.wait)))
        found = await asyncio.gather(*began, return_exceptions=True)
        answers.set()
        return [*found, await admission.in_thread(lambda: "there")]

    *away, there = asyncio.run(ask())

    assert [type(each) for each in away] == [DatabaseAway] * (THREADS + 1)
    assert there == "there"
