"""Read from a streaming replica what may be some moments old: lists, statistics, exports.

``read`` runs a function whose statements all go to the replica, or to the primary where the
replica cannot be used. These hold, whichever answers:

- *Own writes are there.* The replica must have replayed the last write of the caller, and the
  last removal of anybody: positions in the write-ahead log, no seconds (``write_positions``).
- *Rights are the primary's.* A statement on a table of ``RIGHTS`` is refused on the replica, and
  the whole function runs on the primary instead. So does one that writes.
- *No failure of the replica is one of the caller's.* A function whose statement fails there runs
  again on the primary. Only a statement timeout counts: the primary would take as long.
- *A replica that lags or is dead is left out*, with a line in the log, and asked again later.

Functions given to ``read`` must change nothing outside the database, since they may run twice.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from istore.db.other_servers import REPLICA, through
from istore.db.statement_timeout import TIMED_OUT
from istore.db.threads import connection_as_found
from istore.db.watchdog import Watchdog
from istore.db.write_positions import Unknown, position, positions

T = TypeVar("T")
P = ParamSpec("P")

# Whose rows say who may do what. They are never read from a replica.
RIGHTS = re.compile(
    r"\b(?:auth_\w+|django_session|istore_(?:token|membership|loginfailures?)"
    r"|services_sessiontoken)\b"
)
# What may write. SELECT … FOR UPDATE writes as well, and some needless word costs only a note.
WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|COPY)\b", re.IGNORECASE)
# The position that was replayed, and the age of the last transaction that was. NULL: it replays
# nothing, because it is no replica (any more).
STATE = """
SELECT pg_is_in_recovery(),
       pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
"""
SAMPLE_SECONDS = (
    1.0  # how old the primary's position may be that the lag is measured by
)
AWAY_SECONDS = 2.0  # after a failure the replica is not asked for so long
CATCH_UP_SECONDS, CATCH_UP_PAUSE = 0.5, 0.01
# After which the connection is cut: for its state, and for a statement, whose own limit a server
# that hangs does not keep.
ANSWER_SECONDS, BEYOND_LIMIT_SECONDS = 1.0, 10.0

log = logging.getLogger(__name__)


class LeftOut(Exception):
    """The replica cannot answer this read; the message says why."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the replica is behind. ``seconds`` are None where nothing tells them."""

    position: int
    bytes: int
    seconds: float | None

    @property
    def is_too_long(self) -> bool:
        """Return whether a replica this far behind is left out."""
        limit = settings.ISTORE_REPLICA_LAG_SECONDS
        return self.bytes > 0 and (self.seconds is None or self.seconds > limit)


class _Known:
    """What this process knows of the two servers."""

    def __init__(self) -> None:
        self.sampled_at = float("-inf")
        self.primary = 0
        self.away_until = 0.0
        self.reason = ""  # why it is left out

    def is_left_out(self) -> bool:
        return time.monotonic() < self.away_until

    def leave_out(self, reason: str) -> None:
        self.away_until = time.monotonic() + AWAY_SECONDS
        if reason != self.reason:
            log.warning("The read replica is left out: %s", reason)
        self.reason = reason

    def note_answer(self) -> None:
        if self.reason:
            log.warning("The read replica is used again")
        self.reason = ""


_known = _Known()
_watchdog = Watchdog()
_thread = threading.local()


def is_given() -> bool:
    """Return whether there is a replica to read from."""
    return REPLICA.is_given


def read(caller: str, function: Callable[[], T]) -> T:
    """Return what the function returns, read from the replica if it has what the caller must see.

    ``caller`` is the key of ``middleware``. The function may run twice.
    """
    if not REPLICA.is_given or _may_not_move():
        return function()
    try:
        return _read(lambda: _needed(caller), function, wait=0.0)
    except LeftOut:
        return function()


def read_up_to_date(function: Callable[[], T]) -> T:
    """Return what the function returns, read from the replica once that has all of this moment.

    For workers, which can wait a little: nothing that was committed before is missing.
    """
    if not REPLICA.is_given or _may_not_move():
        return function()
    try:
        return _read(position, function, wait=CATCH_UP_SECONDS)
    except LeftOut:
        return function()


def reads_replica(
    view: Callable[Concatenate[HttpRequest, P], T],
) -> Callable[Concatenate[HttpRequest, P], T]:
    """Decorate a page whose statements may go to the replica: ``read`` for a view."""

    @wraps(view)
    def respond(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if request.method not in ("GET", "HEAD"):
            return view(request, *args, **kwargs)
        return read(key_of(request), lambda: view(request, *args, **kwargs))

    return respond


@contextmanager
def on_primary() -> Iterator[None]:
    """Read from the primary in the block: rights, and what a change builds upon."""
    own = getattr(_thread, "own", None)
    if own is None:
        yield
        return
    with through(own):
        yield


def note_removal() -> None:
    """Let nobody read from a replica that still has what was removed. Call it after the commit."""
    if REPLICA.is_given:
        _note(everybody=True)


def middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: note for the caller of a request how far a replica must be after its writes."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        if not REPLICA.is_given:
            return get_response(request)
        has_written = False

        def look(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
            nonlocal has_written
            has_written = has_written or _changes_data(sql)
            return execute(sql, values, many, context)

        with connection.execute_wrapper(look):
            response = get_response(request)
        if has_written and (caller := key_of(request)):
            _note(caller)
        return response

    return respond


def _changes_data(sql: str) -> bool:
    """Return whether a statement may write what a replica is asked for."""
    return WRITES.search(sql) is not None and RIGHTS.search(sql) is None


def key_of(request: Any) -> str:
    """Return the key under which the writes of a request's caller are noted; "" for nobody."""
    token, user = getattr(request, "auth", None), getattr(request, "user", None)
    if token is not None and getattr(token, "pk", None) is not None:
        return f"token:{token.pk}"
    if user is not None and user.pk is not None:
        return f"user:{user.pk}"
    return ""


def lag() -> Lag:
    """Return how far the replica is behind. Raises ``LeftOut`` and ``django.db.Error``."""
    primary = _sample()
    with through(REPLICA.connection()):
        connection.ensure_connection()  # a watchdog has nothing to cut before
        with _watchdog.limit(ANSWER_SECONDS):
            return _state(primary)


def trouble() -> str | None:
    """Return why the replica is not used, or None; for the health checks."""
    if not REPLICA.is_given:
        return None
    try:
        found = lag()
    except (LeftOut, Error) as error:
        REPLICA.close()
        return _sentence(error)
    return _too_long(found) if found.is_too_long else None


def panel() -> dict[str, Any]:
    """Return how far the replica is behind, and whether it is used, for the operator page."""
    try:
        found, reason = lag(), ""
    except (LeftOut, Error) as error:
        REPLICA.close()
        return {"lag": None, "reason": _sentence(error)}
    if found.is_too_long:
        reason = _too_long(found)
    seconds = None if found.seconds is None else timedelta(seconds=found.seconds)
    return {
        "lag": found,
        "seconds": seconds,
        "reason": reason,
        "most": settings.ISTORE_REPLICA_LAG_SECONDS,
    }


def figures() -> dict[str, float]:
    """Return the figures of the metrics; empty without a replica."""
    if not REPLICA.is_given:
        return {}
    with connection_as_found():
        try:
            found = lag()
        except (LeftOut, Error):
            return {"up": 0}
        finally:
            REPLICA.close()
    seconds = {} if found.seconds is None else {"lag_seconds": found.seconds}
    up = int(not found.is_too_long)
    return {"up": up, "lag_bytes": found.bytes, **seconds}


def metrics(found: dict[str, float]) -> Iterator[Metric]:
    """Yield the metrics of the replica; without samples where there is none."""
    about = {
        "up": "1 while the read replica is used, 0 while it is left out.",
        "lag_bytes": "Log that the read replica has not replayed.",
        "lag_seconds": "Age of what the read replica replayed last, while more waits.",
    }
    for name, text in about.items():
        yield GaugeMetricFamily(f"istore_replica_{name}", text, found.get(name))


# -- of one read


def _may_not_move() -> bool:
    """Return whether this thread is in a transaction, or reads from the replica already."""
    return connection.in_atomic_block or getattr(_thread, "own", None) is not None


def _needed(caller: str) -> int:
    try:
        return positions.needed(caller)
    except Unknown:
        raise LeftOut("Valkey does not say what callers wrote") from None


def _read(needed: Callable[[], int], function: Callable[[], T], wait: float) -> T:
    """Run the function on the replica. Raises ``LeftOut`` if the primary has to answer."""
    if _known.is_left_out():
        raise LeftOut(_known.reason)
    at, primary = needed(), _sample()
    other = REPLICA.connection()
    guard = _Guard()
    _thread.own = connections[DEFAULT_DB_ALIAS]
    try:
        with through(other), other.execute_wrapper(guard):
            _wait_for(at, primary, wait)
            found = function()
    except LeftOut:
        raise
    except Exception as error:
        if guard.failure is None and _timed_out(error):
            raise
        # Whatever an error is about, it is the primary's to say: a replica may lack the row.
        is_of_database = isinstance(error, Error | psycopg.Error)
        guard.failure = guard.failure or (
            error if is_of_database else _OfPrimary(str(error))
        )
    finally:
        _thread.own = None
        is_well = guard.failure is None or isinstance(guard.failure, _OfPrimary)
        if other.in_atomic_block or not is_well:
            with suppress(Error, psycopg.Error):
                other.in_atomic_block = False
                other.close()
    if guard.failure is None:
        _known.note_answer()
        return found
    if not isinstance(guard.failure, _OfPrimary):
        _known.leave_out(_sentence(guard.failure))
    raise LeftOut(str(guard.failure))


class _OfPrimary(Error):
    """The statement is the primary's: it asks for rights."""


class _Guard:
    """Looks at each statement on the replica; ``failure`` is the first that was refused there.

    A page may catch the error of a statement, and show that something is too slow. So the
    failure is kept for whoever called.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None

    def __call__(
        self, execute: Any, sql: str, values: Any, many: bool, context: Any
    ) -> Any:
        if self.failure is not None:
            raise self.failure
        if RIGHTS.search(sql):
            self.failure = _OfPrimary("Rights are read from the primary.")
            raise self.failure
        limit = settings.ISTORE_QUERY_SECONDS + BEYOND_LIMIT_SECONDS
        limit = ANSWER_SECONDS if sql == STATE else limit
        try:
            with _watchdog.limit(limit):
                return execute(sql, values, many, context)
        except Error as error:
            if not _timed_out(error):
                self.failure = _OfPrimary(str(error)) if _writes(error) else error
            raise


def _code(error: BaseException) -> str | None:
    found: str | None = getattr(error.__cause__, "sqlstate", None)
    return found or getattr(error, "sqlstate", None)


def _writes(error: BaseException) -> bool:
    return _code(error) == "25006"  # read-only transaction


def _timed_out(error: BaseException) -> bool:
    return _code(error) == TIMED_OUT


def _wait_for(at: int, primary: int, seconds: float) -> None:
    """Return when the replica has replayed this position. Raises ``LeftOut``."""
    deadline = time.monotonic() + seconds
    while (state := _state(primary)).position < at:
        if time.monotonic() > deadline:
            raise LeftOut("it has not replayed a write of the caller")
        time.sleep(CATCH_UP_PAUSE)
    if state.is_too_long:
        _known.leave_out(_too_long(state))
        raise LeftOut(_known.reason)


def _state(primary: int) -> Lag:
    with connection.cursor() as cursor:
        cursor.execute(STATE)
        is_replica, replayed, age = cursor.fetchone()
    if not is_replica or replayed is None:
        _known.leave_out("the server is no replica")
        raise LeftOut("the server is no replica")
    behind = max(0, primary - replayed)
    return Lag(replayed, behind, age if behind else 0.0)


def _sample() -> int:
    """Return the primary's position of at most a second ago."""
    if time.monotonic() - _known.sampled_at > SAMPLE_SECONDS:
        began = time.monotonic()
        _known.primary = position()
        _known.sampled_at = began
    return _known.primary


def _note(caller: str = "", *, everybody: bool = False) -> None:
    """Note the present position. If Valkey does not take it, wait until the replica has it."""
    try:
        at = position()
    except Error:
        log.warning("It is not known how far the log is; it is asked again")
        positions.forget()
        return
    try:
        positions.note(at, caller=caller, everybody=everybody)
    except Unknown:
        log.warning("Valkey does not take what was written; waiting for the replica")
        deadline = time.monotonic() + settings.ISTORE_REPLICA_LAG_SECONDS
        with suppress(Error, LeftOut):
            while lag().position < at and time.monotonic() < deadline:
                time.sleep(CATCH_UP_PAUSE)


def _too_long(found: Lag) -> str:
    if found.seconds is None:
        return "it has replayed nothing yet"
    # Without the number, so that the log has one line and not one a second.
    return f"it is more than {settings.ISTORE_REPLICA_LAG_SECONDS} seconds behind"


def _sentence(error: Exception) -> str:
    """Return what an error says, without what it says of connections: hosts and names of roles."""
    if isinstance(error, LeftOut):
        return str(error)
    code = _code(error)
    return f"it does not answer ({code})" if code else "it does not answer"
