"""Which server answers for a model, and whether this caller may ask.

What the database said is believed for a second: a token that was revoked, or a switch
that was turned, counts no later than that.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import Error, InterfaceError, OperationalError, connection

from inferences.models import RegisteredModel
from istore.access import Caller
from istore.models import Role
from istore.tokens import find_token
from istore.upstreams import check_upstream_url
from proxy.answers import AGAIN_IN_A_SECOND, Refused, not_found, unauthenticated
from services.session_ports import is_port_of_session

BELIEVED_SECONDS = 1.0
DATABASE_SECONDS = 5.0
THREADS = 4
REMEMBERED = 4096

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


class Targets(Generic[Found]):
    """The targets callers asked for lately, as ``look`` finds them."""

    def __init__(self, look: Callable[[str, str], Found]) -> None:
        self._look = look
        self._threads = ThreadPoolExecutor(THREADS, "lookup")
        self._known: dict[tuple[bytes, str], tuple[float, Found]] = {}
        self._asked: dict[tuple[bytes, str], asyncio.Future[tuple[float, Found]]] = {}
        self._ready = (0.0, False)

    async def find(self, authorization: bytes, name: str) -> Found:
        """Raises ``Refused``: 401 without a valid token, 404 when it opens nothing."""
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not secret.strip():
            raise unauthenticated()
        secret = secret.strip()
        key = hashlib.sha256(secret).digest(), name
        known = self._known.get(key)
        if known and known[0] > time.monotonic():
            return known[1]
        self._known.pop(key, None)
        return await self._look_up(key, secret.decode("latin-1"), name)

    async def is_ready(self) -> bool:
        """Whether the database answers; asked once a second."""
        until, ready = self._ready
        if time.monotonic() < until:
            return ready
        try:
            await self._in_thread(connection_answers)
            ready = True
        except Refused:
            ready = False
        self._ready = time.monotonic() + BELIEVED_SECONDS, ready
        return ready

    async def _look_up(self, key: tuple[bytes, str], secret: str, name: str) -> Found:
        """One look for all who wait for the same; what is not there is not remembered."""
        asked = self._asked.get(key)
        if asked is None:
            until = time.monotonic() + BELIEVED_SECONDS
            asked = asyncio.ensure_future(self._ask(until, secret, name))
            self._asked[key] = asked
            asked.add_done_callback(lambda _: self._asked.pop(key, None))
        until, target = await asyncio.shield(asked)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = until, target
        return target

    async def _ask(self, until: float, secret: str, name: str) -> tuple[float, Found]:
        return until, await self._in_thread(lambda: self._look(secret, name))

    async def _in_thread(self, ask: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                return await loop.run_in_executor(self._threads, _asking_anew, ask)
        except (TimeoutError, Error) as error:
            log.warning("The database does not answer: %s", type(error).__name__)
            raise Refused(
                503, "A dependency is unavailable.", AGAIN_IN_A_SECOND
            ) from error


def find_target(secret: str, model_id: str) -> Target:
    token = find_token(secret)
    if token is None:
        raise unauthenticated()
    visible = RegisteredModel.objects.visible_to(Caller(token=token), Role.EDITOR)
    model = visible.filter(model_id=model_id).first()
    if model is None:
        raise not_found()
    return Target(
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


def _asking_anew(ask: Callable[[], Result]) -> Result:
    """A connection that was lost since it was used last costs a second attempt."""
    try:
        return ask()
    except (InterfaceError, OperationalError):
        connection.close()
        return ask()
