"""The metrics of the proxy's calls. No label names a tenant or a model.

Counters are plain numbers without locks, all used in the thread of the event loop, and the catalogue
of metrics reads them. Several proxy processes on one port answer for all of them
(``istore.telemetry.shared_counts``). A single process shares nothing: its counters begin at zero when
it starts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

from istore.telemetry.metrics import (
    PROXY,
    SECONDS,
    Distribution,
    Labels,
    Moment,
    Total,
)

STATUS, REASON = "status", "reason"
# Added by the proxy, whose aim is a millisecond; the bounds of other durations are too coarse.
ADDED_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 10.0),
)


class Counts:
    """What is counted of the calls of this process."""

    def __init__(self) -> None:
        self.in_flight = self.in_flight_bytes = self.database_away = self.ready = 0
        self.recorded = 0
        self.streamed = 0
        self.streams_kept = 0
        self.streams_lost: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.not_recorded: Counter[str] = Counter()
        self.replaced: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.measure: Callable[[], None] = lambda: None  # sets what is of the moment


counts = Counts()


def _momentary(name: str, about: str, attribute: str) -> None:
    def read() -> float:
        counts.measure()
        return float(getattr(counts, attribute))

    Moment(name, about, roles=(PROXY,), read=read)


def _number(name: str, about: str, attribute: str) -> None:
    Total(name, about, roles=(PROXY,), read=lambda: getattr(counts, attribute))


def _labelled(name: str, about: str, label: str, attribute: str) -> None:
    def read() -> dict[Labels, float]:
        counted = dict(getattr(counts, attribute))
        return {(str(value),): count for value, count in counted.items()}

    Total(name, about, label, roles=(PROXY,), read=read)


_momentary("istore_proxy_in_flight", "Calls being carried.", "in_flight")
_momentary(
    "istore_proxy_in_flight_bytes", "Bytes held for calls in flight.", "in_flight_bytes"
)
_momentary("istore_proxy_ready", "Proxy processes that admit calls.", "ready")
_momentary(
    "istore_proxy_database_away",
    "Processes whose calls go on from memory without the database.",
    "database_away",
)
_labelled("istore_proxy_answered_total", "Answers sent to clients.", STATUS, "answered")
_number("istore_proxy_recorded_total", "Answers that left as recorded.", "recorded")
_labelled(
    "istore_proxy_not_recorded_total", "Answers not kept.", REASON, "not_recorded"
)
_labelled(
    "istore_proxy_ids_replaced_total", "Copies under another id.", REASON, "replaced"
)
_number("istore_proxy_streamed_total", "Answers passed on as streams.", "streamed")
_number(
    "istore_proxy_streams_kept_total",
    "Streams whose copies were kept.",
    "streams_kept",
)
_labelled(
    "istore_proxy_streams_lost_total",
    "Streams that left with an id and were not kept.",
    REASON,
    "streams_lost",
)
_labelled("istore_proxy_refused_total", "Calls the proxy refused.", STATUS, "refused")

# Bounds in microseconds, as moments are; the metrics are in seconds.
_BOUNDS = [round(bound * 1e6) for bound in SECONDS]
_ADDED_BOUNDS = [round(bound * 1e6) for bound in ADDED_SECONDS]


class Durations:
    """The durations of inferences as counts of buckets, each list with its sum at the end.

    Only the event loop writes them, without locks: three observations cost a call half a microsecond.
    """

    def __init__(self) -> None:
        self.by_class = {n: _empty(_BOUNDS) for n in range(1, 10)}
        self.upstream = _empty(_BOUNDS)
        self.added = _empty(_ADDED_BOUNDS)

    def observe(self, status: int, total: int, upstream: int) -> None:
        """Count one inference by its microseconds."""
        counts = self.by_class.get(status // 100)
        if counts is not None:
            counts[bisect_left(_BOUNDS, total)] += 1
            counts[-1] += total
        counts = self.upstream
        counts[bisect_left(_BOUNDS, upstream)] += 1
        counts[-1] += upstream
        added = total - upstream if total > upstream else 0
        counts = self.added
        counts[bisect_left(_ADDED_BOUNDS, added)] += 1
        counts[-1] += added


def _empty(bounds: list[int]) -> list[int]:
    return [0] * (len(bounds) + 2)


def _in_seconds(counts: list[int]) -> list[float]:
    return [*counts[:-1], counts[-1] / 1e6]


durations = Durations()
Distribution(
    "istore_proxy_request_duration_seconds",
    "Inferences, from the request's head to the end of the answer.",
    STATUS,
    roles=(PROXY,),
    read=lambda: {
        (f"{number}xx",): _in_seconds(counts)
        for number, counts in durations.by_class.items()
        if any(counts)
    },
)
Distribution(
    "istore_proxy_upstream_duration_seconds",
    "What inferences waited for the model server, to the end of its answer.",
    roles=(PROXY,),
    read=lambda: {(): _in_seconds(durations.upstream)},
)
Distribution(
    "istore_proxy_added_duration_seconds",
    "What the proxy added to inferences: the request's body, the ids, the copy.",
    roles=(PROXY,),
    bounds=ADDED_SECONDS,
    read=lambda: {(): _in_seconds(durations.added)},
)


def tell_kept(reason: str) -> None:
    """Count the copy of a stream; its answer was counted when it began."""
    if reason:
        counts.not_recorded[reason] += 1
        counts.streams_lost[reason] += 1
    else:
        counts.recorded += 1
        counts.streams_kept += 1


def tell(status: int, disposition: str) -> None:
    """Count an answer by the value of its ``Inference-Store`` header."""
    counts.answered[status] += 1
    if disposition == "recorded":
        counts.recorded += 1
    elif disposition == "streaming":
        counts.streamed += 1
    elif disposition.startswith("not-recorded"):
        counts.not_recorded[disposition.partition("; reason=")[2]] += 1
