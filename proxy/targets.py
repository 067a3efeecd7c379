"""Which server answers for a model, and whether this caller may ask.

What the database said is remembered, and used as long as the lease of this process holds:
``istore.freshness`` says why that is as good as asking. While the database is away, what
was known stays in use for ``ISTORE_PROXY_STALE_SECONDS`` since the database confirmed it
last: by an answer, or by a heartbeat that told no change of it. An entry from before a
lease began anew is in doubt: it is asked again, and is there for another outage meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar

from django.db import Error, InterfaceError, OperationalError, connection

from inferences.models import RegisteredModel
from istore.accounts.tokens import find_token
from istore.db.clock import now
from istore.models import Role, Token
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

# Looked up again after this time, so that a token's last use is noted, and a change that
# no trigger saw (a restored table) does not go unnoticed for ever.
REMEMBERED_SECONDS = 60.0
DATABASE_SECONDS = 5.0
THREADS = 4
REMEMBERED = 4096
CALLING = Role.EDITOR  # what a token needs to call models and sessions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """A model as the proxy sees it: where to forward to, and what to keep."""

    model_id: str
    model_key: int
    project_key: int
    task_type: str
    base_url: str
    name: str
    is_stored: bool
    strips_metadata: bool
    problem: str = ""
    is_ours: bool = False  # a server that the store started itself
    is_elsewhere: bool = False  # this machine's port is that of a session's process


Found = TypeVar("Found")
Result = TypeVar("Result")
# The token's digest, and the names that were asked for, the preferred one first.
Key = tuple[bytes, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Known(Generic[Found]):
    """What a lookup found, which rows it depends on, and how long it is valid at most.

    Rows are named as the triggers of ``proxy_change`` name them.
    """

    found: Found
    depends_on: frozenset[str]
    seconds: float = float("inf")


@dataclass(frozen=True, slots=True)
class Remembered(Generic[Found]):
    """Moments are those of ``clock``: when to look again, and when it is over."""

    found: Found
    depends_on: frozenset[str]
    due_at: float
    ends_at: float
    confirmed_at: (
        float  # when it was right; later heartbeats confirm it, unless in doubt
    )
    is_in_doubt: bool = False

    @classmethod
    def of(cls, known: Known[Found], at: float) -> Remembered[Found]:
        ends_at = at + known.seconds
        due_at = min(ends_at, at + REMEMBERED_SECONDS)
        return cls(known.found, known.depends_on, due_at, ends_at, at)

    def in_doubt(self, heard_at: float | None) -> Remembered[Found]:
        """The same, to be asked again before it is used while the database answers."""
        confirmed_at = self.last_confirmed_at(heard_at)
        due_at = float("-inf")
        return replace(self, due_at=due_at, confirmed_at=confirmed_at, is_in_doubt=True)

    def last_confirmed_at(self, heard_at: float | None) -> float:
        """``heard_at``: when a heartbeat last told all changes."""
        if self.is_in_doubt or heard_at is None:
            return self.confirmed_at
        return max(self.confirmed_at, heard_at)


class DatabaseAway(Refused):
    """The answer to a call that is not known, while nobody can be asked."""

    def __init__(self) -> None:
        super().__init__(503, "A dependency is unavailable.", AGAIN_IN_A_SECOND)


class Admission:
    """What the lookups of one process share: lease, threads and rates."""

    def __init__(self) -> None:
        self.lease = Lease()
        self.threads = ThreadPoolExecutor(THREADS, "lookup")
        self.rate = TokenRate(limits.PROXY_RATE_PER_MINUTE)
        self.wrong_tokens = WrongTokens(limits.WRONG_TOKENS_PER_MINUTE)

    async def is_ready(self) -> tuple[bool, str]:
        """Whether calls can be let in, and what is wrong if something is."""
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
        loop, threads = asyncio.get_running_loop(), self.threads
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                return await loop.run_in_executor(threads, _asking_anew, ask)
        except TimeoutError as error:
            # Its threads may hang for as long as their connections do. Lookups that wait
            # for them are not cancelled: that would end their calls without an answer.
            if self.threads is threads:
                self.threads = ThreadPoolExecutor(THREADS, "lookup")
                threads.shutdown(wait=False)
            raise DatabaseAway from error
        except Error as error:
            raise DatabaseAway from error


class Targets(Generic[Found]):
    """The targets callers asked for lately, as ``look`` finds them."""

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
        self._asked: dict[Key, asyncio.Future[Found]] = {}
        self._tokens: dict[bytes, None] = {}  # digests of those that were valid lately
        self._forgettings = 0

    async def find(self, headers: Headers, names: tuple[str, ...]) -> Found:
        """Raises ``Refused``: 401 without a valid token, 403 when its role is not enough,
        404 when it opens nothing, 429 when there were too many calls.
        """
        scheme, _, secret = (headers.get(b"authorization") or b"").partition(b" ")
        secret = secret.strip()
        if scheme.lower() != b"bearer" or not secret:
            raise unauthenticated()
        digest = hashlib.sha256(secret).digest()
        key = digest, names
        remembered = self._memory.get(key)
        at = clock()
        if remembered is None or remembered.due_at <= at or self._lease.until <= at:
            found = await self._find(key, secret, headers)
        else:
            found = remembered.found
        self._admission.rate.check(digest)
        return found

    def forget(self, changes: Collection[str] | None) -> None:
        """What depends on these rows, and whatever is being looked up."""
        self._forgettings += 1
        self._asked.clear()
        if changes is None:
            self._memory.clear()
            return
        for key, each in list(self._memory.items()):
            if not each.depends_on.isdisjoint(changes):
                del self._memory[key]

    def doubt(self, heard_at: float | None) -> None:
        """Nothing is used before it is asked again, unless nobody can be asked."""
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
        """What was known, if the database has confirmed it not too long ago."""
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
        """One look for all who wait for the same; what is not there is not remembered.

        Without a lease it is shared with nobody: it may have begun before a change of
        which the next caller was told.
        """
        if not is_shared:
            return await self._ask(key, secret, headers)
        asked = self._asked.get(key)
        if asked is None:
            asked = asyncio.ensure_future(self._ask(key, secret, headers))
            self._asked[key] = asked
            asked.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(asked)

    def _done(self, key: Key, done: asyncio.Future[Found]) -> None:
        if self._asked.get(key) is done:
            del self._asked[key]
        if not done.cancelled():
            done.exception()  # whoever asked may be gone

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
    """The first of the names that is a model of the token's project."""
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
    if model.model_id != names[0]:  # a model of a name that comes before may appear
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
        problem=_problem(model.upstream_url),
        is_elsewhere=is_port_of_session(model.upstream_url),
    )
    return Known(target, frozenset(depends_on), seconds_until(token.expires_at))


def rows_of(token: Token) -> tuple[str, str]:
    return f"token:{token.pk}", f"project:{token.project_id}"


def check_role(token: Token) -> None:
    """Raises ``Refused`` unless the token may call what its project can see."""
    if token.role not in CALLING.at_least():
        raise forbidden(
            f"The token has the role {token.role}; this needs the role {CALLING}."
        )


def seconds_until(*moments: datetime | None) -> float:
    """Until the first of them, by the clock of the database."""
    given = [each for each in moments if each is not None]
    return (min(given) - now()).total_seconds() if given else float("inf")


def connection_answers() -> None:
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


def _keep(memory: dict, key: object, value: object) -> None:
    """Set it as the newest; the oldest goes when there are too many."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]


def _asking_anew(ask: Callable[[], Result]) -> Result:
    """A connection that was lost since it was used last costs a second attempt."""
    try:
        return ask()
    except (InterfaceError, OperationalError):
        connection.close()
        return ask()
