"""Prompts of ten megabytes: recorded whole, in memory that does not grow with their number."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest
import requests

from inferences.models import TaskType
from proxy.tests.text_upstream import TextUpstream

pytestmark = pytest.mark.django_db

PROMPT_CHARS, CALLS = 10_000_000, 12
GROWTH_BYTES = 8 * PROMPT_CHARS  # a call holds its body a few times over


@pytest.fixture(scope="module")
def texts():
    server = TextUpstream()
    server.start()
    yield server
    server.stop()


def peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the process is gone")


def test_long_prompts_are_recorded_in_bounded_memory(start_proxy, store, texts):
    proxied = start_proxy()
    store.model(texts.url, "long", task_type=TaskType.TEXT_GENERATION)
    headers = {"Authorization": f"Bearer {store.secret}"}
    url = f"{proxied.url}/v1/chat/completions"

    def ask(number: int) -> bytes:
        text = f"{number} " + "word " * (PROMPT_CHARS // 5)
        messages = [{"role": "user", "content": text}]
        body = orjson.dumps({"model": "long", "messages": messages})
        named = headers | {"Inference-Id": f"long-{number}"}
        answer = requests.post(url, body, headers=named, timeout=60)
        assert answer.headers["Inference-Store"] == "recorded"
        return body

    body = ask(0)
    before = peak_bytes(proxied.process.pid)
    for number in range(1, CALLS):
        ask(number)
    assert peak_bytes(proxied.process.pid) - before < GROWTH_BYTES
    marker = proxied.marker("long-0")
    assert marker["input"]["sha256"] == hashlib.sha256(body).hexdigest()
    assert texts.seen[-1].body.startswith(b'{"model":"long"')
