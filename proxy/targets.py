"""Find which server answers for a model, and whether this caller may call it.

Lookups are cached, and used as long as the lease of this process holds: ``istore.freshness``
says why that is as good as asking the database. While the database is away, a cached lookup
stays in use for ``ISTORE_PROXY_STALE_SECONDS`` after the database last confirmed it: by an
answer, or by a heartbeat that reported no change of it. When a lease begins anew, all earlier
entries are in doubt: they are looked up again before use, but kept in case the database is away
again first.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db import Error, InterfaceError, OperationalError, connection

from inferences.models import RegisteredModel
from istore.accounts.tokens import find_token
from istore.db.clock import now
from istore.models import Role, Token
from istore.telemetry.pools import ObservedThreads
from istore.upstreams import check_upstream_url
from proxy import limits
from proxy.answers import (
    AGAIN_IN_A_SECOND,
    Refused,
    forbidden,
    not_found,
    unauthenticated,
)
from proxy.http.headers import Headers
from proxy.lease import Lease, clock
from proxy.rates import TokenRate, WrongTokens
from services.session_ports import is_port_of_session, port_of
from services.session_tokens import MARK as SESSION_MARK
from services.session_tokens import find_session_token

# Entries are looked up again after this time, so that a token's last use is recorded, and a
# change that no trigger saw (a restored table) does not go unnoticed for ever.
REMEMBERED_SECONDS = 60.0
DATABASE_SECONDS = 5.0  # a lookup that takes longer counts as "the database is away"
THREADS = 4
REMEMBERED = 4096  # cached lookups, and digests of valid tokens; the oldest goes first
CALLING = Role.EDITOR  # what a token needs to call models and sessions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """A model as the proxy sees it: where to forward calls, and what to keep.

    ``problem`` says why it cannot be called at all.
    """

    model_id: str
    model_key: int
    project_key: int
    task_type: str
    base_url: str
    name: str
    is_stored: bool
    strips_metadata: bool
    keeps_failures: bool = False  # calls that failed are stored, too
    problem: str = ""
    is_ours: bool = False  # a server that the store started itself
    is_elsewhere: bool = False  # its port, here, is that of a session's process


Found = TypeVar("Found")
Result = TypeVar("Result")
# Cache key: the token's digest, and the possible names, the preferred one first.
Key = tuple[bytes, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Known(Generic[Found]):
    """What a lookup found, the rows it depends on, and for how many seconds it is valid.

    Rows are named as the triggers of ``proxy_change`` name them.
    """

    found: Found
    depends_on: frozenset[str]
    seconds: float = float("inf")


@dataclass(frozen=True, slots=True)
class Remembered(Generic[Found]):
    """A cached lookup. Its moments are those of ``clock``.

    It is to be looked up again at ``due_at``, and invalid from ``ends_at``.
    """

    found: Found
    depends_on: frozenset[str]
    due_at: float
    ends_at: float
    # When the database confirmed it; later heartbeats confirm it, too, unless it is in doubt.
    confirmed_at: float
    is_in_doubt: bool = False

    @classmethod
    def of(cls, known: Known[Found], at: float) -> Remembered[Found]:
        """Return the entry of a lookup that began at this moment."""
        ends_at = at + known.seconds
        due_at = min(ends_at, at + REMEMBERED_SECONDS)
        return cls(known.found, known.depends_on, due_at, ends_at, at)

    def in_doubt(self, heard_at: float | None) -> Remembered[Found]:
        """Return the same entry, to be looked up again before use while the database answers."""
        confirmed_at = self.last_confirmed_at(heard_at)
        due_at = float("-inf")
        return replace(self, due_at=due_at, confirmed_at=confirmed_at, is_in_doubt=True)

    def last_confirmed_at(self, heard_at: float | None) -> float:
        """Return when the database last confirmed it.

        ``heard_at`` is when a heartbeat last reported all changes.
        """
        if self.is_in_doubt or heard_at is None:
            return self.confirmed_at
        return max(self.confirmed_at, heard_at)


class DatabaseAway(Refused):
    """The response to a call that is not cached while the database cannot be asked (503)."""

    def __init__(self) -> None:
        super().__init__(503, "A dependency is unavailable.", AGAIN_IN_A_SECOND)


class Admission:
    """What all lookups of one process share: lease, threads and rate limits."""

    def __init__(self) -> None:
        self.lease = Lease()
        self.threads = ObservedThreads(THREADS, "lookup")
        self.rate = TokenRate(limits.PROXY_RATE_PER_MINUTE)
        self.wrong_tokens = WrongTokens(limits.WRONG_TOKENS_PER_MINUTE)

    async def is_ready(self) -> tuple[bool, str]:
        """Return whether calls can be admitted, and what is wrong ("" if nothing is)."""
        if await self.lease.renew():
            return True, ""
        if self.lease.is_away:
            reason = "The database does not answer."
            left = limits.PROXY_STALE_SECONDS - self.lease.silent_seconds
            if left <= 0:
                return False, reason
            return True, f"{reason} What is known goes on for {left:.0f} s."
        await self.in_thread(connection_answers)
        return True, "The database gives no lease: each call asks it."

    async def in_thread(self, ask: Callable[[], Result]) -> Result:
        """Run a database lookup in a thread. Raises ``DatabaseAway`` if it fails or times out."""
        loop, threads = asyncio.get_running_loop(), self.threads
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                return await loop.run_in_executor(threads, _asking_anew, ask)
        except TimeoutError as error:
            # The threads may hang as long as their connections do, so new ones take over.
            # Lookups that wait for the old ones are not cancelled: that would end their
            # calls without an answer.
            if self.threads is threads:
                self.threads = ObservedThreads(THREADS, "lookup")
                threads.shutdown(wait=False)
            raise DatabaseAway from error
        except Error as error:
            raise DatabaseAway from error


class Targets(Generic[Found]):
    """A cache of the targets that callers asked for lately; ``look`` finds what is not cached."""

    def __init__(
        self,
        look: Callable[[str, tuple[str, ...]], Known[Found]],
        admission: Admission,
    ) -> None:
        self._look = look
        self._admission = admission
        self._lease = admission.lease
        self._lease.tell(self.forget, self.doubt)
        self._memory: dict[Key, Remembered[Found]] = {}
        self._lookups: dict[Key, asyncio.Future[Found]] = {}
        self._tokens: dict[bytes, None] = {}  # digests of those that were valid lately
        self._forgettings = 0

    async def find(
        self, headers: Headers, names: tuple[str, ...], *, is_counted: bool = True
    ) -> Found:
        """Return what this token may call under the first of the names that exists.

        ``is_counted`` is False for the second lookup of one call, because its rate counts calls.
        Raises ``Refused``: 401 without a valid token, 403 when its role is not enough, 404 when
        it opens nothing, 429 when there were too many calls.
        """
        credential = headers.credential()
        if credential is None:
            raise unauthenticated()
        secret = credential.token
        digest = hashlib.sha256(secret).digest()
        key = digest, names
        remembered = self._memory.get(key)
        at = clock()
        if remembered is None or remembered.due_at <= at or self._lease.until <= at:
            found = await self._find(key, secret, headers)
        else:
            found = remembered.found
        if is_counted:
            self._admission.rate.check(digest)
        return found

    def forget(self, changes: Collection[str] | None) -> None:
        """Drop the entries that depend on these rows (None: all), and disown lookups under way.

        A lookup under way may have read before the change, so its result is neither cached nor
        shared with later callers.
        """
        self._forgettings += 1
        self._lookups.clear()
        if changes is None:
            self._memory.clear()
            return
        for key, each in list(self._memory.items()):
            if not each.depends_on.isdisjoint(changes):
                del self._memory[key]

    def doubt(self, heard_at: float | None) -> None:
        """Mark all entries as in doubt: each is looked up again before use.

        Only while the database is away are they used without that.
        """
        for key, each in self._memory.items():
            self._memory[key] = each.in_doubt(heard_at)

    async def _find(self, key: Key, secret: bytes, headers: Headers) -> Found:
        holds = await self._lease.renew()
        remembered = self._memory.get(key)
        if holds and remembered and remembered.due_at > clock():
            return remembered.found
        if not self._lease.is_away:
            try:
                return await self._look_up(key, secret, headers, is_shared=holds)
            except DatabaseAway as error:
                log.warning("The database does not answer: %s", error.__cause__)
        return self._from_memory(key)

    def _from_memory(self, key: Key) -> Found:
        """Return the cached target, or raise ``DatabaseAway`` if it was not confirmed lately."""
        remembered, at = self._memory.get(key), clock()
        if remembered is None or remembered.ends_at <= at:
            raise DatabaseAway
        confirmed_at = remembered.last_confirmed_at(self._lease.heard_at)
        if at - confirmed_at >= limits.PROXY_STALE_SECONDS:
            raise DatabaseAway
        return remembered.found

    async def _look_up(
        self, key: Key, secret: bytes, headers: Headers, *, is_shared: bool
    ) -> Found:
        """Run one lookup for all callers that wait for the same key; a failure is not cached.

        Without a lease each caller has a lookup of its own: a shared one may have begun before
        a change of which the next caller was already told.
        """
        if not is_shared:
            return await self._ask(key, secret, headers)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = asyncio.ensure_future(self._ask(key, secret, headers))
            self._lookups[key] = lookup
            lookup.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(lookup)

    def _done(self, key: Key, done: asyncio.Future[Found]) -> None:
        if self._lookups.get(key) is done:
            del self._lookups[key]
        if not done.cancelled():
            done.exception()  # mark it as retrieved: the caller may be gone

    async def _ask(self, key: Key, secret: bytes, headers: Headers) -> Found:
        digest, names = key
        forgettings, began = self._forgettings, clock()

        def look() -> Known[Found]:
            return self._look(secret.decode("latin-1"), names)

        try:
            if digest in self._tokens:
                known = await self._admission.in_thread(look)
            else:
                client = headers.client_address()
                async with self._admission.wrong_tokens.guess(client):
                    known = await self._admission.in_thread(look)
        except DatabaseAway:
            raise
        except Refused as refused:
            self._memory.pop(key, None)
            if refused.status == 401:
                self._tokens.pop(digest, None)
            raise
        _keep(self._tokens, digest, None)
        if forgettings == self._forgettings:
            _keep(self._memory, key, Remembered.of(known, began))
        return known.found


def find_target(secret: str, names: tuple[str, ...]) -> Known[Target]:
    """Return the first of the names that is a model of the token's project.

    Raises ``Refused``: 401, 403 or 404.
    """
    if secret.startswith(SESSION_MARK) and find_session_token(secret):
        raise forbidden("The token of an inference session reaches that session alone.")
    token = find_token(secret)
    if token is None:
        raise unauthenticated()
    models = RegisteredModel.objects.filter(
        project=token.project_id, model_id__in=names
    )
    found = {model.model_id: model for model in models}
    model = next((found[name] for name in names if name in found), None)
    if model is None:
        raise not_found()
    check_role(token)
    depends_on = {*rows_of(token), f"model:{model.pk}"}
    if model.model_id != names[0]:  # a model with a preferred name may be created later
        depends_on.add(f"models of {model.project_id}")
    depends_on.add(f"sessions of {port_of(model.upstream_url)}")
    target = Target(
        model_id=model.model_id,
        model_key=model.pk,
        project_key=model.project_id,
        task_type=model.task_type,
        base_url=model.upstream_url.rstrip("/"),
        name=model.upstream_model or model.model_id,
        is_stored=model.enable_inference_storage,
        strips_metadata=model.strip_metadata,
        keeps_failures=model.keep_failures,
        problem=_problem(model.upstream_url),
        is_elsewhere=is_port_of_session(model.upstream_url),
    )
    return Known(target, frozenset(depends_on), seconds_until(token.expires_at))


def find_project(secret: str, names: tuple[str, ...]) -> Known[int]:
    """Return the key of the token's project, for calls whose model is named later.

    Raises ``Refused``: 401 or 403.
    """
    if secret.startswith(SESSION_MARK) and find_session_token(secret):
        raise forbidden("The token of an inference session reaches that session alone.")
    token = find_token(secret)
    if token is None:
        raise unauthenticated()
    check_role(token)
    seconds = seconds_until(token.expires_at)
    return Known(token.project_id, frozenset(rows_of(token)), seconds)


def rows_of(token: Token) -> tuple[str, str]:
    """Return the rows that an answer about this token depends on, by their trigger names."""
    return f"token:{token.pk}", f"project:{token.project_id}"


def check_role(token: Token) -> None:
    """Raise ``Refused`` (403) unless the token's role allows calls."""
    if token.role not in CALLING.at_least():
        raise forbidden(
            f"The token has the role {token.role}; this needs the role {CALLING}."
        )


def seconds_until(*moments: datetime | None) -> float:
    """Return the seconds until the first of these moments (inf for none).

    They count by the database's clock.
    """
    given = [moment for moment in moments if moment is not None]
    return (min(given) - now()).total_seconds() if given else float("inf")


def connection_answers() -> None:
    """Run a trivial statement. Raises a database error if the connection does not answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _problem(url: str) -> str:
    if not url:
        return "The model has no upstream server."
    try:
        check_upstream_url(url)
    except ValueError as error:
        return str(error)
    return ""


def _keep(memory: dict[Any, Any], key: object, value: object) -> None:
    """Set the value as the newest entry; the oldest goes when there are too many."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]


def _asking_anew(ask: Callable[[], Result]) -> Result:
    """Run the lookup, and a second time if the connection was lost since its last use."""
    try:
        return ask()
    except (InterfaceError, OperationalError):
        connection.close()
        return ask()
