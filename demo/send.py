"""Registers the demonstration's models and sends them real traffic.

``python -m demo.send --token …``; the last line it prints is the page to open.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain
from time import monotonic
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import aiohttp

from demo import conversations
from demo.traffic import MODELS as V2_MODELS
from demo.traffic import Call, calls

MODELS = (*V2_MODELS, conversations.MODEL)
CONCURRENCY = 4
REQUEST_SECONDS = 60
WAIT_SECONDS = 60
POLL_SECONDS = 0.5
TELL_EVERY = 50
# What the proxy says of an answer whose copy is kept; that of a stream is stored at its end.
KEPT = ("recorded", "streaming")
PLAIN = {"embedding_size": 0, "class_labels": [], "box_format": "yxyx"}


class SendError(Exception):
    """Why the demonstration cannot be shown, as one line for who started it."""


@dataclass(slots=True)
class Tally:
    """Inferences by model: asked for, answered, and said to be recorded."""

    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    recorded: Counter[str] = field(default_factory=Counter)
    problem: str = ""
    told: int = 0


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.send", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the store")
    parser.add_argument("--proxy", default="http://127.0.0.1:8001", help="its proxy")
    parser.add_argument(
        "--upstream",
        default="http://127.0.0.1:9000",
        help="the model server, as the proxy reaches it",
    )
    token = os.environ.get("ISTORE_TOKEN")
    parser.add_argument(
        "--token",
        default=token,
        required=not token,
        help="of a project, may register; ISTORE_TOKEN when not given",
    )
    parser.add_argument("--project", default="default", help="the token's project")
    parser.add_argument("--count", type=int, default=400, help="of requests")
    parser.add_argument("--seed", type=int, default=7, help="of pictures and metadata")
    options = parser.parse_args(arguments)
    for name in ("url", "proxy", "upstream"):
        setattr(options, name, getattr(options, name).rstrip("/"))
    return options


async def show(options: argparse.Namespace) -> str:
    """The URL of the page to open, once all that was sent is in the store."""
    headers = {"Authorization": f"Bearer {options.token}"}
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        for model in MODELS:
            await register(session, options, model)
        before = await counts(session, options.url)
        tally = await send_all(session, options)
        if tally.problem:
            raise SendError(tally.problem)
        stored = await wait(session, options.url, before, tally)
    for model_id, count in tally.asked.items():
        print(
            f"{model_id}: {count} inferences, {tally.answered[model_id]} answered, "
            f"{tally.recorded[model_id]} recorded, {stored[model_id]} in the store"
        )
    return f"{options.url}/models/face-detector/inferences"


async def register(
    session: aiohttp.ClientSession, options: argparse.Namespace, model: dict[str, Any]
) -> None:
    """Register a model.

    One that is known with other values is a conflict: the model server may have another port
    today, so the settings are changed, and nothing else. Proxies know them when the answer comes.
    """
    served = {"upstream_url": options.upstream, "enable_inference_storage": True}
    body = PLAIN | model | served | {"project_id": options.project}
    models = f"{options.url}/api/v1/models"
    async with session.post(models, json=body) as response:
        if response.ok:
            return
        if response.status != HTTPStatus.CONFLICT:
            raise SendError(
                f"Registering {model['model_id']} failed: {await error_text(response)}"
            )
    path = f"{models}/{quote(model['model_id'])}/inference-server-settings"
    async with session.patch(path, json=served) as response:
        if not response.ok:
            raise SendError(
                f"{model['model_id']} is registered with other values, and changing "
                f"its settings failed: {await error_text(response)}"
            )


async def send_all(
    session: aiohttp.ClientSession, options: argparse.Namespace
) -> Tally:
    """Sends the calls, a few at once; the first that fails ends it."""
    tally = Tally()
    run = uuid4()
    waiting = chain(calls(options.count, options.seed, run), conversations.calls(run))
    senders = [send(session, options, waiting, tally) for _ in range(CONCURRENCY)]
    await asyncio.gather(*senders)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return tally


async def send(
    session: aiohttp.ClientSession,
    options: argparse.Namespace,
    waiting: Iterator[Call],
    tally: Tally,
) -> None:
    while not tally.problem and (call := next(waiting, None)):
        path = call.path or f"/v2/models/{quote(call.model_id)}/infer"
        url = f"{options.proxy}{path}"
        tally.asked[call.model_id] += call.parts
        async with session.post(url, data=call.body, headers=call.headers) as response:
            if not response.ok and not call.is_refusable:
                tally.problem = (
                    f"{call.model_id} did not answer: {await error_text(response)}"
                )
                return
            await response.read()
            tally.answered[call.model_id] += call.parts
            if response.headers.get("Inference-Store") in KEPT:
                tally.recorded[call.model_id] += call.parts
        progress(tally)


def progress(tally: Tally) -> None:
    """A line that is written over on a terminal, and now and then a line elsewhere."""
    answered, recorded = tally.answered.total(), tally.recorded.total()
    text = f"{answered} inferences answered, {recorded} recorded"
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)
    elif answered >= tally.told + TELL_EVERY:
        tally.told = answered
        print(text, file=sys.stderr, flush=True)


async def counts(session: aiohttp.ClientSession, url: str) -> Counter[str]:
    """The inferences that are in the store, by model."""
    found: Counter[str] = Counter()
    for model in MODELS:
        model_id = model["model_id"]
        path = f"{url}/api/v1/models/{quote(model_id)}/inferences/count"
        async with session.post(path, json={}) as response:
            if not response.ok:
                raise SendError(
                    f"Counting {model_id} failed: {await error_text(response)}"
                )
            found[model_id] = (await response.json())["count"]
    return found


async def wait(
    session: aiohttp.ClientSession, url: str, before: Counter[str], tally: Tally
) -> Counter[str]:
    """What is in the store, once all that was recorded is there.

    On a busy machine an answer may leave unrecorded: the proxy never waits long for the
    disk. That is told, and is no failure unless a model has nothing at all.
    """
    if unrecorded := tally.asked - tally.recorded:
        if unseen := [name for name in tally.asked if not tally.recorded[name]]:
            raise SendError(f"No answer of {', '.join(unseen)} was recorded.")
        print(
            f"{unrecorded.total()} of {tally.asked.total()} answers left without "
            "'Inference-Store: recorded'.",
            file=sys.stderr,
        )
    end = monotonic() + WAIT_SECONDS
    while True:
        stored = await counts(session, url)
        missing = before + tally.recorded - stored
        if not missing:
            return stored
        if monotonic() > end:
            raise SendError(
                f"{missing.total()} of {tally.recorded.total()} recorded inferences are "
                f"not in the store after {WAIT_SECONDS} s."
            )
        await asyncio.sleep(POLL_SECONDS)


async def error_text(response: aiohttp.ClientResponse) -> str:
    """The failure as one line: status, and the beginning of the body."""
    text = " ".join((await response.text(errors="replace")).split())
    return f"{response.status} {text[:300]}".strip()


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    try:
        page = asyncio.run(show(options))
    except (SendError, aiohttp.ClientError, TimeoutError) as error:
        print(f"demo.send: {error or type(error).__name__}", file=sys.stderr)
        return 1
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
