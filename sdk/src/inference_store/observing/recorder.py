"""The recorder: a bounded queue of ended spans, and the thread that sends them."""

from __future__ import annotations

import atexit
import json
import logging
import random
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from inference_store import connection
from inference_store.client import Client
from inference_store.errors import InferenceStoreError
from inference_store.forks import PerProcess
from inference_store.observing.spans import Redact, Span, said_by
from inference_store.requests import Call
from inference_store.retries import Retries

TRACES = "/v1/traces"
BATCH_BYTES = 4 * 1024**2
EXIT_SECONDS = 5.0
WAIT_FIRST, WAIT_MOST = 0.5, 30.0  # seconds between tries while the store is away

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unsent:
    """What is not in the store: it is true if there is anything.

    ``waiting`` spans are still in the queue, ``dropped`` ones did not fit it, and ``refused``
    ones the store did not take. ``error`` is the last failure; empty if there was none.
    """

    waiting: int = 0
    dropped: int = 0
    refused: int = 0
    error: str = ""

    def __bool__(self) -> bool:
        return bool(self.waiting or self.dropped or self.refused)


@dataclass
class _State:
    """The queue of one process. A forked child begins with an empty one."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    spans: deque[bytes] = field(default_factory=deque)
    sending: list[bytes] = field(default_factory=list)
    size: int = 0
    dropped: int = 0
    refused: int = 0
    error: str = ""
    is_hurried: bool = False
    thread: threading.Thread | None = None


class Recorder:
    """Sends ended spans to a store; threads may share it.

    Parameters:
        client: the client to send by; that of ``connect`` when not given, else one from
            ``ISTORE_URL`` and ``ISTORE_TOKEN``.
        service: the name of the application; its functions are models such as
            ``<service>.agent``.
        spans_max, bytes_max: bounds of the queue. What comes while it is full is dropped.
        batch: the most spans of one request.
        seconds: how long a span waits for others to be sent with it.
        sample: the share of traces that are recorded, from 0 to 1.
        redact: a function of the side ("input" or "output") and the value that returns what
            may be recorded. If it raises, the span is dropped.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        service: str = "application",
        spans_max: int = 10_000,
        bytes_max: int = 64 * 1024**2,
        batch: int = 200,
        seconds: float = 1.0,
        sample: float = 1.0,
        redact: Redact | None = None,
    ) -> None:
        self.service, self.sample, self.redact = service, sample, redact
        self.spans_max, self.bytes_max = spans_max, bytes_max
        self.batch, self.seconds = batch, seconds
        self._client = client
        self._state = PerProcess(_State)
        atexit.register(self._end)

    def draws(self) -> bool:
        """Return whether a trace that begins now is to be recorded."""
        return self.sample >= 1 or random.random() < self.sample

    def record(self, span: Span) -> None:
        """Queue an ended span. Nothing is raised, and nothing waits for the store."""
        if not span.is_sampled:
            return
        state = self._state.get()
        try:
            written = span.to_otlp(self.redact)
        except Exception as error:
            with state.changed:
                state.dropped += 1
                state.error = said_by(error)
            return
        with state.changed:
            is_full = len(state.spans) >= self.spans_max
            if is_full or state.size + len(written) > self.bytes_max:
                state.dropped += 1
                return
            state.spans.append(written)
            state.size += len(written)
            if state.thread is None:
                self._start(state)
            state.changed.notify_all()

    def flush(self, timeout: float = 10.0) -> Unsent:
        """Send what is queued now, for at most so many seconds, and return what was not sent.

        Counts of what was dropped and refused begin anew.
        """
        state, end = self._state.get(), time.monotonic() + timeout
        with state.changed:
            state.is_hurried = True
            state.changed.notify_all()
            while state.spans or state.sending:
                left = end - time.monotonic()
                if left <= 0:
                    break
                state.changed.wait(left)
            state.is_hurried = False
            waiting = len(state.spans) + len(state.sending)
            unsent = Unsent(waiting, state.dropped, state.refused, state.error)
            state.dropped = state.refused = 0
            state.error = ""
        return unsent

    def _start(self, state: _State) -> None:
        thread = threading.Thread(
            target=self._run, args=(state,), name="observing", daemon=True
        )
        with suppress(RuntimeError):  # at the end of the interpreter no thread begins
            thread.start()
            state.thread = thread

    def _run(self, state: _State) -> None:
        client: Client | None = None
        wait = WAIT_FIRST
        while True:
            batch = self._next_batch(state)
            try:
                client = client or self._connected()
                refused, why = self._send(client, batch)
            except Exception as error:  # the thread must go on whatever happens
                with state.changed:
                    state.error = str(error) or type(error).__name__
                    if _is_final(error):
                        state.refused += len(batch)
                        self._done(state)
                        continue
                    state.changed.wait_for(lambda: state.is_hurried, wait)
                wait = min(wait * 2, WAIT_MOST)
                if state.is_hurried:
                    time.sleep(0.1)
                continue
            wait = WAIT_FIRST
            with state.changed:
                state.refused += refused
                state.error = why or state.error
                self._done(state)

    def _next_batch(self, state: _State) -> list[bytes]:
        """Return the batch that is being sent, or wait for the next."""
        with state.changed:
            if state.sending:
                return state.sending
            state.changed.wait_for(lambda: state.spans)
            state.changed.wait_for(
                lambda: state.is_hurried or len(state.spans) >= self.batch,
                self.seconds,
            )
            size = 0
            while (
                state.spans and len(state.sending) < self.batch and size < BATCH_BYTES
            ):
                span = state.spans.popleft()
                size += len(span)
                state.sending.append(span)
            return state.sending

    def _done(self, state: _State) -> None:
        state.size -= sum(map(len, state.sending))
        state.sending = []
        state.changed.notify_all()

    def _send(self, client: Client, batch: list[bytes]) -> tuple[int, str]:
        name = {"key": "service.name", "value": {"stringValue": self.service}}
        head = json.dumps({"attributes": [name]}).encode()
        body = (
            b'{"resourceSpans": [{"resource": %b, "scopeSpans": [{"scope": '
            b'{"name": "inference_store.observing"}, "spans": [%b]}]}]}'
        ) % (head, b",".join(batch))
        headers = {"Content-Type": "application/json"}
        call = Call(
            "POST", TRACES, _read_refused, body, headers=headers, may_repeat=True
        )
        return client.send(call)

    def _connected(self) -> Client:
        if self._client is not None:
            return self._client
        retries = Retries(attempts=1)  # this thread tries again by itself
        current = connection.current
        if isinstance(current, Client):
            return _twin_of(current, retries)
        return Client(retries=retries)

    def _end(self) -> None:
        if unsent := self.flush(EXIT_SECONDS):
            log.warning("Not recorded by the inference store: %s", unsent)


def _twin_of(client: Client, retries: Retries) -> Client:
    """Return a client of the same store with connections of its own."""
    return Client(
        client.url,
        client._token,
        timeout=client._timeout,
        retries=retries,
        transport=client._transport,
    )


def _read_refused(response: httpx2.Response) -> tuple[int, str]:
    """Return how many spans the store refused, and why."""
    said: Any = response.json() if response.content else {}
    partial = said.get("partialSuccess") or {}
    return int(partial.get("rejectedSpans") or 0), partial.get("errorMessage") or ""


def _is_final(error: Exception) -> bool:
    """Return whether the same request would be refused again."""
    if not isinstance(error, InferenceStoreError):
        return True
    status = error.status
    return status is not None and status < 500 and status not in (408, 425, 429)


_recorder: Recorder | None = None


def use_recorder(recorder: Recorder | None = None) -> Recorder:
    """Return the recorder of ``observe``, which is made when first used, or set another."""
    global _recorder
    if recorder is not None or _recorder is None:
        _recorder = recorder or Recorder()
    return _recorder


def flush(timeout: float = 10.0) -> Unsent:
    """Send what ``observe`` has queued, and return what was not sent (``Recorder.flush``)."""
    return use_recorder().flush(timeout)
