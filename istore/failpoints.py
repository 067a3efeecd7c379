"""Failpoints: named places in the code where a test may kill, raise or sleep.

``ISTORE_FAILPOINTS="proxy.spool_synced:3=kill, listener.committed=raise"`` kills the process
at the third passage of the first, and raises at every passage of the second. Settings refuse
the variable outside of DEBUG and tests.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass

from django.conf import settings

from istore.env import Malformed

FORM = re.compile(
    r"(?P<name>[a-z_.]+)(?::(?P<nth>[0-9]+))?=(?P<act>kill|raise|sleep=(?P<s>[0-9.]+))"
)


class Failure(RuntimeError):
    """Raised by an armed failpoint."""


@dataclass(frozen=True, slots=True)
class Armed:
    """What an armed failpoint does, and at which passage (None: at each)."""

    act: str
    nth: int | None
    seconds: float

    def trigger(self, name: str) -> None:
        """Kill the process, raise ``Failure`` or sleep."""
        if self.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.act == "raise":
            raise Failure(name)
        time.sleep(self.seconds)


def read(text: str) -> dict[str, Armed]:
    """Return the armed failpoints that a text describes, by name. Raises ``Malformed``."""
    armed = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = FORM.fullmatch(part)
        if not found:
            raise Malformed("ISTORE_FAILPOINTS", f"{part!r} is not name[:nth]=act.")
        act = found["act"].partition("=")[0]
        nth = int(found["nth"]) if found["nth"] else None
        armed[found["name"]] = Armed(act, nth, float(found["s"] or 0))
    return armed


_armed = read(settings.ISTORE_FAILPOINTS)
_passages: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Act if this failpoint is armed. It costs one dictionary look-up when nothing is armed."""
    if not _armed or name not in _armed:
        return
    _passages[name] += 1
    if _armed[name].nth in (None, _passages[name]):
        _armed[name].trigger(name)


def arm(text: str) -> None:
    """Replace the armed failpoints of this process; for tests."""
    _armed.clear()
    _passages.clear()
    _armed.update(read(text))
