"""Metrics counted in memory: totals, moments and distributions, in a catalogue of all.

A metric says at which roles' endpoints it is told. Labels have few values by design: routes,
operations, outcomes, and never an id. What one process counted is a plain dictionary, so that the
counts of several processes add up (``shared_counts``).
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family

# The roles that have an endpoint. Capture processes are told by that of their proxy.
WEB, PROXY, LISTENER, WORKER, BEAT = "web", "proxy", "listener", "worker", "beat"
ROLES = (WEB, PROXY, LISTENER, WORKER, BEAT)
SEPARATOR = "\x1f"  # between the labels of a sample, where counts are JSON
# Upper bounds of durations, from a lookup in memory to a model server's timeout.
SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
MINUTES = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0)  # of tasks
COUNTS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 10_000.0)

Labels = tuple[str, ...]
# Of one sample: a number, or of a distribution the count of each bucket and the sum.
Value = float | list[float]
Read = Callable[[], "float | Mapping[Labels, Value]"]
Counted = dict[str, dict[str, Value]]  # by metric, then by labels
catalogue: dict[str, Metric] = {}


class Metric:
    """A named metric with its values by labels. Safe for threads.

    With ``read`` the values are counted elsewhere: it returns the value, or the values by labels.
    """

    is_momentary = False

    def __init__(
        self,
        name: str,
        about: str,
        *labels: str,
        roles: Iterable[str] = ROLES,
        read: Read | None = None,
    ) -> None:
        self.name = name
        self.about = about
        self.labels = labels
        self.roles = frozenset(roles)
        self.read = read
        self._lock = threading.Lock()
        self._values: dict[Labels, Any] = {}
        catalogue[name] = self

    def counted(self) -> dict[str, Value]:
        """Return the values of this process by joined labels."""
        if self.read is not None:
            found = self.read()
            values: Mapping[Labels, Value] = (
                found if isinstance(found, Mapping) else {(): found}
            )
            return {SEPARATOR.join(labels): each for labels, each in values.items()}
        with self._lock:
            return {
                SEPARATOR.join(labels): list(value)
                if isinstance(value, list)
                else value
                for labels, value in self._values.items()
            }

    def clear(self) -> None:
        """Forget all values: for a forked process, whose parent tells them, and for tests."""
        self._lock = threading.Lock()
        self._values.clear()

    def family(self, values: Mapping[str, Value]) -> Family:
        """Return the values as Prometheus's client renders them."""
        raise NotImplementedError

    def _labels_of(self, key: str) -> list[str]:
        return key.split(SEPARATOR) if self.labels else []


class Total(Metric):
    """What was counted since the start; it only rises. Its name ends with ``_total``."""

    def add(self, *labels: str, by: float = 1) -> None:
        """Count one more, or ``by`` more."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + by

    def family(self, values: Mapping[str, Value]) -> Family:
        family = CounterMetricFamily(self.name, self.about, labels=self.labels)
        for key, value in values.items():
            family.add_metric(self._labels_of(key), _number(value))
        return family


class Moment(Metric):
    """What is true at the moment of a scrape; the values of all processes add up."""

    is_momentary = True

    def add(self, *labels: str, by: float = 1) -> None:
        """Raise the value, or lower it with a negative ``by``."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + by

    def set(self, value: float, *labels: str) -> None:
        """Set the value."""
        with self._lock:
            self._values[labels] = value

    def family(self, values: Mapping[str, Value]) -> Family:
        family = GaugeMetricFamily(self.name, self.about, labels=self.labels)
        for key, value in values.items():
            family.add_metric(self._labels_of(key), _number(value))
        return family


class Distribution(Metric):
    """A histogram of durations, or of other sizes by other bounds."""

    def __init__(
        self,
        name: str,
        about: str,
        *labels: str,
        roles: Iterable[str] = ROLES,
        bounds: tuple[float, ...] = SECONDS,
        read: Read | None = None,
    ) -> None:
        super().__init__(name, about, *labels, roles=roles, read=read)
        self.bounds = bounds

    def observe(self, value: float, *labels: str) -> None:
        """Count a value in its bucket."""
        with self._lock:
            counts = self._values.get(labels)
            if counts is None:
                counts = self._values[labels] = [0] * (len(self.bounds) + 1) + [0.0]
            counts[bisect_left(self.bounds, value)] += 1
            counts[-1] += value

    def family(self, values: Mapping[str, Value]) -> Family:
        family = HistogramMetricFamily(self.name, self.about, labels=self.labels)
        for key, value in values.items():
            if not isinstance(value, list) or len(value) != len(self.bounds) + 2:
                continue  # a file of a release with other bounds
            buckets, sofar = [], 0.0
            for bound, count in zip((*self.bounds, "+Inf"), value, strict=False):
                sofar += count
                buckets.append((str(bound), sofar))
            family.add_metric(self._labels_of(key), buckets, value[-1])
        return family


def count_all(role: str) -> Counted:
    """Return what this process counted of the metrics of a role."""
    return {
        metric.name: counted
        for metric in list(catalogue.values())
        if role in metric.roles and (counted := metric.counted())
    }


def families_of(role: str, counted: Iterable[Counted]) -> Iterator[Family]:
    """Yield the metrics of a role with the sums over several processes, empty ones too."""
    total = add_up(counted)
    for metric in list(catalogue.values()):
        if role in metric.roles:
            yield metric.family(total.get(metric.name, {}))


def add_up(counted: Iterable[Counted]) -> Counted:
    """Return the sums of what several processes counted."""
    total: Counted = {}
    for each in counted:
        for name, values in each.items():
            sums = total.setdefault(name, {})
            for labels, value in values.items():
                sums[labels] = _sum(sums.get(labels), value)
    return total


def without_moments(counted: Counted) -> Counted:
    """Return what goes on counting although the process that counted it has ended."""
    return {
        name: values
        for name, values in counted.items()
        if not (metric := catalogue.get(name)) or not metric.is_momentary
    }


def _sum(sofar: Value | None, value: Value) -> Value:
    if sofar is None:
        return list(value) if isinstance(value, list) else value
    if isinstance(sofar, list) and isinstance(value, list):
        if len(sofar) != len(value):
            return sofar
        return [one + other for one, other in zip(sofar, value, strict=True)]
    if isinstance(sofar, list) or isinstance(value, list):
        return sofar
    return sofar + value


def _number(value: Value) -> float:
    return 0.0 if isinstance(value, list) else value
