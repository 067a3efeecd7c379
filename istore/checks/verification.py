"""Whether the store keeps its promises: checks that apps register, and runs of them.

A check walks what it looks at in constant memory and yields what is wrong as it meets it.
It only looks unless the scope says ``repair``; what it repairs it looks at again, under
the locks of whoever else may be at work, so it is safe beside all of them. Checks that
tidy up what may rightly be left behind for a while are run by the collector's beat, too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from istore.db import clock
from istore.models import Project, VerifyRun

KEPT_FINDINGS = 100  # of a run; the counts are of all
KEPT_RUNS = timedelta(days=90)
VERIFY, COLLECT = "verify", "collect"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run looks at: all, or one project; what happened since; and how closely."""

    at: datetime
    project: Project | None = None
    since: datetime | None = None
    deep: bool = False
    repair: bool = False

    @property
    def young_from(self) -> datetime:
        """What was written after this may be on its way to its record."""
        return self.at - timedelta(hours=settings.ISTORE_VERIFY_GRACE_HOURS)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as promised: its kind, where, and what was done about it."""

    kind: str
    where: str
    detail: str = ""
    repaired: bool = False

    def as_dict(self) -> dict[str, Any]:
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
    """``look`` yields findings. ``collects``: the collector's beat runs it with repair."""

    name: str
    look: Looking
    collects: bool = False


checks: dict[str, Check] = {}


def register(name: str, look: Looking, *, collects: bool = False) -> None:
    """Called by apps in ``ready``; a check of the same name is replaced."""
    checks[name] = Check(name, look, collects)


@dataclass
class Report:
    """What a run has found so far. Filled while ``findings`` is consumed."""

    scope: Scope
    names: list[str]
    found: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    unfinished: dict[str, str] = field(default_factory=dict)
    sample: list[Finding] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 clean, 1 findings (repaired or not), 2 unfinished."""
        if self.unfinished:
            return 2
        return 1 if self.found else 0

    def findings(self) -> Iterator[Finding]:
        """Run the checks one after the other. One that breaks does not stop the rest."""
        if self.scope.repair and (apart := _apart()):
            # Ages of objects are told by another clock than the database's.
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
            except Exception as error:  # a store that is away, a table that is locked
                log.exception("The check %s broke off.", name)
                self.unfinished[name] = f"{type(error).__name__}: {error}"[:300]

    def as_dict(self) -> dict[str, Any]:
        return {
            "checks": self.names,
            "found": dict(sorted(self.found.items())),
            "repaired": self.repaired,
            "unfinished": self.unfinished,
        }


def _apart() -> float:
    """How many seconds this machine is off, where that is too much to remove anything."""
    apart = abs((datetime.now(UTC) - clock.now()).total_seconds())
    return apart if apart > settings.ISTORE_CLOCK_SKEW_MAX_SECONDS else 0.0


def report(scope: Scope, *, collecting: bool = False) -> Report:
    """A run that has not begun: of every check, or of those that collect."""
    names = [each.name for each in checks.values() if each.collects or not collecting]
    return Report(scope, names)


def run(kind: str, *, by: object = "", **scope: Any) -> VerifyRun | None:
    """Run to the end and keep the result. None while another run of this kind goes on."""
    with _alone(f"istore.{kind}") as first:
        if not first:
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


@contextmanager
def _alone(name: str) -> Iterator[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [name])
        (first,) = cursor.fetchone()
        try:
            yield first
        finally:
            if first:
                cursor.execute("SELECT pg_advisory_unlock(hashtext(%s))", [name])
