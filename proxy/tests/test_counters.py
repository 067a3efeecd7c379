"""The counts of several proxy processes on one port."""

from __future__ import annotations

import asyncio

from proxy.counters import Counts


def said(counts: Counts) -> dict[tuple[str, str], float]:
    """The samples that are not zero, by name and label."""
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for metric in counts.collect()
        for sample in metric.samples
        if sample.value
    }


async def shared(counts: Counts, folder, number: int, *measure) -> None:
    """Share once, as a process does when it starts."""
    task = asyncio.ensure_future(counts.share(folder, number, 2, *measure))
    await asyncio.sleep(0)
    task.cancel()


async def test_each_process_answers_for_all_and_goes_on_where_it_was(tmp_path):
    first, second = Counts(), Counts()
    first.recorded, first.refused[404], first.in_flight = 3, 2, 1
    second.recorded, second.not_recorded["busy"] = 4, 1
    await shared(first, tmp_path, 0)
    await shared(second, tmp_path, 1)
    expected = {
        ("istore_proxy_recorded_total", ""): 7,
        ("istore_proxy_refused_total", "404"): 2,
        ("istore_proxy_not_recorded_total", "busy"): 1,
        ("istore_proxy_in_flight", ""): 1,
    }
    assert said(first) == said(second) == expected
    again = Counts()
    await shared(again, tmp_path, 0)
    del expected["istore_proxy_in_flight", ""]
    assert said(again) == said(second) == expected
    again.refused[404] += 1
    assert said(again)["istore_proxy_refused_total", "404"] == 3


async def test_a_damaged_file_counts_for_nothing(tmp_path):
    (tmp_path / "proxy-1.counts").write_bytes(b"{")
    counts = Counts()
    counts.streamed = 2
    await shared(counts, tmp_path, 0)
    assert said(counts) == {("istore_proxy_streamed_total", ""): 2}


async def test_what_is_true_of_a_moment_is_measured_before_it_is_shared(tmp_path):
    first, second = Counts(), Counts()

    def measure():
        first.in_flight_bytes, first.database_away = 5, 1

    await shared(first, tmp_path, 0, measure)
    await shared(second, tmp_path, 1)
    assert said(second) == {
        ("istore_proxy_in_flight_bytes", ""): 5,
        ("istore_proxy_database_away", ""): 1,
    }
