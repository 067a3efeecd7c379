"""Proxies with the listener behind them: what they told is held against the store."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import requests
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from inferences.models import RegisteredModel
from inferences.store.reading import find_inference
from inferences.store.removal import remove_one
from ingest.stream import EventStream
from proxy.tests.conftest import Proxied, Store, wait_until

DRAINED_SECONDS = 60
LIMITS = {
    "ISTORE_PROXY_MAX_REQUEST_BYTES": "8M",
    "ISTORE_PROXY_MAX_RESPONSE_BYTES": "2M",
    "ISTORE_CAPTURE_MAX_BYTES": "256K",
    "ISTORE_UPSTREAM_TOTAL_SECONDS": "5",
    "ISTORE_ID_DEADLINE_MS": "20000",  # a busy machine is not what is tested
}


@dataclass
class Found:
    """A record as the API would find it, with the bytes of its blobs."""

    inference_id: str
    input: bytes
    answer: bytes
    warnings: list[str]
    notes: dict


@dataclass
class WholeStore:
    """Two proxies on one store and a listener, each a process of its own."""

    store: Store
    home: Path
    proxies: list[Proxied] = field(default_factory=list)
    listener: subprocess.Popen | None = None

    def start(self) -> WholeStore:
        for _ in range(2):
            self.add_proxy()
        self.start_listener()
        return self

    def add_proxy(self, **environment: str) -> Proxied:
        proxied = Proxied(self.store, self.home, LIMITS | environment)
        self.proxies.append(proxied)
        return proxied.start()

    def start_listener(self) -> None:
        self.listener = subprocess.Popen(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "listen"],
            env={
                **os.environ,
                "ISTORE_HOME": str(self.home),
                "ISTORE_TESTING": "true",
                "ISTORE_DATABASE_URL": self.store.database_url,
                "ISTORE_REDIS_URL": self.store.redis_url,
            },
        )

    def stop(self) -> None:
        self.stop_listener()
        for proxied in self.proxies:
            proxied.process.terminate()
        for proxied in self.proxies:
            proxied.process.wait(30)
        for proxied in self.proxies[:1]:
            wait_until(proxied.is_gone, 30)

    def stop_listener(self) -> None:
        if self.listener is not None:
            self.listener.terminate()
            self.listener.wait(30)
            self.listener = None

    def drain(self) -> None:
        """Until all that was spooled is in the store."""
        try:
            wait_until(self.proxies[0].is_drained, DRAINED_SECONDS)
        except AssertionError as error:
            left = sorted(each.name for each in (self.home / "spool").iterdir())
            raise AssertionError(f"{left}\n{self.proxies[0].log[-3000:]}") from error
        with closing(EventStream(self.store.redis_url)) as stream:
            lag = lambda: (stream.lag().waiting, stream.lag().pending)  # noqa: E731
            wait_until(lambda: lag() == (0, 0), DRAINED_SECONDS)

    # -- what came of it

    def run(self, work, *given):
        return self.store.thread.submit(work, *given).result()

    def remove(self, model_id: str, inference_id: str) -> None:
        model = self.run(lambda: RegisteredModel.objects.get(model_id=model_id))
        assert self.run(remove_one, "test", model, inference_id)

    def ids(self, model_id: str) -> set[str]:
        """Of all live records of the model."""
        return self.run(
            lambda: set(_live(model_id).values_list("inference_id", flat=True))
        )

    def find(self, model_id: str, inference_id: str) -> Found | None:
        return self.run(self._find, model_id, inference_id)

    def _find(self, model_id: str, inference_id: str) -> Found | None:
        model = RegisteredModel.objects.get(model_id=model_id)
        found = find_inference(model, inference_id)
        if found is None:
            return None
        payload, blob = found.payload, self.proxies[0].blob
        return Found(
            inference_id,
            blob(payload.data_storage_key),
            blob(payload.answer_storage_key),
            (payload.notes or {}).get("warnings", []),
            payload.notes or {},
        )


def _live(model_id: str):
    return RegisteredModel.objects.get(model_id=model_id).inferences.live()


def counted(proxied: Proxied) -> dict[str, float]:
    """The counters of what was told: ``recorded``, ``streamed``, and each reason."""
    text = requests.get(f"{proxied.url}/metrics", timeout=10).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("istore_proxy_").removesuffix("_total")
            if sample.name.endswith("_total"):
                found[sample.labels.get("reason", name)] = sample.value
    return found
