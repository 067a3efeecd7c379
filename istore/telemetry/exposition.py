"""The text that Prometheus reads at the endpoint of a role.

It has the metrics of the catalogue, summed over the processes that stand behind the endpoint, those
of ``collectors``, and what Prometheus's client knows of the process that answers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from istore.hooks import Hook
from istore.telemetry import metrics, release
from istore.telemetry.metrics import Counted

CONTENT_TYPE = CONTENT_TYPE_LATEST

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Figures:
    """Metrics that are read where they are kept: in the database, the stream, or on a disk."""

    roles: tuple[str, ...]
    collect: Callable[[], Iterable[Family]]


collectors: Hook[Figures] = Hook()


class RoleCollector(Collector):
    """Everything of one role at one moment."""

    def __init__(self, role: str, counted: Iterable[Counted]) -> None:
        self._role = role
        self._counted = list(counted)

    def collect(self) -> Iterator[Family]:
        """Yield the families. A part that does not answer is left out, and told as failed."""
        build = GaugeMetricFamily(
            "istore_build_info", "1, with the release.", labels=["version", "role"]
        )
        build.add_metric([release.VERSION, self._role], 1)
        yield build
        yield from metrics.families_of(self._role, self._counted)
        failed = GaugeMetricFamily(
            "istore_collector_failed",
            "1 where a part of this answer is missing.",
            labels=["collector"],
        )
        took = GaugeMetricFamily(
            "istore_collector_duration_seconds",
            "How long a part of this answer took.",
            labels=["collector"],
        )
        for name, figures in collectors.items():
            if self._role not in figures.roles:
                continue
            began_at = time.monotonic()
            try:
                found = list(figures.collect())
            except Exception as error:  # during an outage the rest is wanted most
                log.warning("metrics of %s are missing: %s", name, error)
                failed.add_metric([name], 1)
            else:
                failed.add_metric([name], 0)
                yield from found
            took.add_metric([name], time.monotonic() - began_at)
        yield failed
        yield took


def render(role: str, counted: Iterable[Counted]) -> bytes:
    """Return the metrics of a role as text."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(RoleCollector(role, counted))
    return generate_latest(registry)
