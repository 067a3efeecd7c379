"""Checks of consistency that apps register, and runs of them.

A check walks its data in constant memory and yields each finding as it meets it. It changes
nothing unless the scope says ``repair``. Before a repair it checks again under the locks that
other writers take, so it is safe while they run. Checks with ``collects`` clean up what may
legitimately be left behind for a while; the collector's beat entry runs them, too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from istore.blobs.storage_failures import STORAGE_FAILURES
from istore.db import clock
from istore.db.advisory_lock import AdvisoryLock
from istore.hooks import Hook
from istore.models import Project, VerifyRun

KEPT_FINDINGS = 100  # stored with a run; the counts cover all findings
KEPT_RUNS = timedelta(days=90)
VERIFY, COLLECT = "verify", "collect"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run covers: all projects or one, and what happened since a time.

    ``deep`` reads and hashes every blob; ``repair`` repairs what can be repaired.
    """

    at: datetime
    project: Project | None = None
    since: datetime | None = None
    deep: bool = False
    repair: bool = False

    @property
    def young_from(self) -> datetime:
        """The time after which a blob may still be on its way to its record."""
        return self.at - timedelta(hours=settings.ISTORE_VERIFY_GRACE_HOURS)


@dataclass(frozen=True, slots=True)
class Finding:
    """One inconsistency: its kind, where it is, and whether it was repaired."""

    kind: str
    where: str
    detail: str = ""
    repaired: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON, for the command and the stored sample."""
        return {
            "kind": self.kind,
            "where": self.where,
            "detail": self.detail,
            "repaired": self.repaired,
        }

    def __str__(self) -> str:
        done = " (repaired)" if self.repaired else ""
        return (
            f"{self.kind}: {self.where}{': ' if self.detail else ''}{self.detail}{done}"
        )


Looking = Callable[[Scope], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check. ``look`` yields findings; ``collects``: the collector runs it with repair."""

    look: Looking
    collects: bool = False


checks: Hook[Check] = Hook()


@dataclass
class Report:
    """What a run has found so far; it is filled while ``findings`` is consumed."""

    scope: Scope
    names: list[str]
    found: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    unfinished: dict[str, str] = field(default_factory=dict)
    sample: list[Finding] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The exit status: 0 clean, 1 findings (repaired or not), 2 unfinished."""
        if self.unfinished:
            return 2
        return 1 if self.found else 0

    def findings(self) -> Iterator[Finding]:
        """Run the checks in turn and yield their findings. A check that raises stops no other."""
        if self.scope.repair and (apart := _apart()):
            # Ages of blobs are measured by another clock than the database's, so with a skewed
            # clock a young blob would look old and be removed.
            self.unfinished["clock"] = f"clock-skew: this clock is {apart:.0f} s off."
            return
        for name in self.names:
            try:
                for finding in checks[name].look(self.scope):
                    self.found[finding.kind] += 1
                    self.repaired += finding.repaired
                    if len(self.sample) < KEPT_FINDINGS:
                        self.sample.append(finding)
                    yield finding
            except Exception as error:  # an outage, a locked table
                is_outage = isinstance(error, STORAGE_FAILURES)
                log.error(
                    "The check %s broke off: %s",
                    *(name, error),
                    exc_info=None if is_outage else error,
                )
                self.unfinished[name] = f"{type(error).__name__}: {error}"[:300]

    def as_dict(self) -> dict[str, Any]:
        """Return the counts of the run as JSON."""
        return {
            "checks": self.names,
            "found": dict(sorted(self.found.items())),
            "repaired": self.repaired,
            "unfinished": self.unfinished,
        }


def _apart() -> float:
    """Return the clock skew of this machine in seconds, or 0.0 if it is within the limit."""
    apart = abs((datetime.now(UTC) - clock.now()).total_seconds())
    return apart if apart > settings.ISTORE_CLOCK_SKEW_MAX_SECONDS else 0.0


def report(scope: Scope, *, collecting: bool = False) -> Report:
    """Return a run that has not begun, of every check or of those that collect."""
    names = [name for name, each in checks.items() if each.collects or not collecting]
    return Report(scope, names)


def run(kind: str, *, by: object = "", **scope: Any) -> VerifyRun | None:
    """Run the checks and return the stored result, or None while another such run goes on."""
    with AdvisoryLock(f"istore.{kind}").try_hold() as is_ours:
        if not is_ours:
            return None
        at = clock.now()
        VerifyRun.objects.filter(started_at__lt=at - KEPT_RUNS).delete()
        kept = VerifyRun.objects.create(kind=kind, by=str(by)[:300])
        collecting = kind == COLLECT
        done = report(Scope(at, repair=collecting, **scope), collecting=collecting)
        for _ in done.findings():
            pass
        kept.finish(
            found=dict(sorted(done.found.items())),
            repaired=done.repaired,
            unfinished=done.unfinished,
            sample=[finding.as_dict() for finding in done.sample],
        )
        return kept
