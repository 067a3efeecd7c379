"""Measure how fast events become rows, and compare with the bare limit of PostgreSQL.

``python benchmarks/ingest.py`` starts its own PostgreSQL and Valkey, durable as in
production, and fills a partition. It measures the bare limit (``COPY BINARY`` of the same
bytes into three tables without an index), ``record`` in batches of 1000, 100 and 1, the
re-delivery of the same rows, and a listener process from the stream to committed rows. Each
figure is the median of three rounds in one run. All processes share the processors.

These rows come in the order of time with counted ids. *Scattered* rows are the harder case beside
them: random ids, moments of the last 30 days in no order, new models, several mixes of labels.
They are written by one process and by two at once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

    from inferences.models import RegisteredModel
    from inferences.store.recording import NewInference
    from ingest.events import InferenceEvent

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import note  # noqa: E402

ROUNDS = 3
DAYS = 30  # of scattered rows
LABELS = ("ship", "boat", "buoy", "crane")
# Labels and how often each comes: a few, one before all, very many, and none at all.
MIXES = {
    "few": (LABELS, (1, 1, 1, 1)),
    "skewed": (LABELS, (970, 20, 9, 1)),
    "many": (
        tuple(f"class-{n}" for n in range(500)),
        tuple(1 / n for n in range(1, 501)),
    ),
    "nothing": ((), ()),
}
IN_A_PACK = 200  # as many as come in a fifth of a second
SENT_TABLES = (
    "inferences_inference",
    "inferences_inferencepayload",
    "inferences_detection",
)
# Rates are shares of the bare limit; bytes on disk and WAL are multiples of the bytes sent.
TARGETS = {
    "record, batch 1000": 0.10,
    "record, batch 100": 0.07,
    "record, batch 1": 0.012,
    "re-delivery": 0.35,
    "bytes on disk": 2.1,
    "WAL": 3.0,
}
TARGET_OF_A_MILLION = 0.08
LEAST_FOR_THAT = 500_000


@contextmanager
def servers(directory: str | None) -> Iterator[Path]:
    from istore.home import Home
    from supervisor import embedded

    root = Path(tempfile.mkdtemp(prefix="istore-benchmark-", dir=directory))
    os.environ |= {"ISTORE_HOME": str(root), "ISTORE_TESTING": "true"}
    home = Home(root)
    try:
        with embedded.running(home):
            yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(home.run, ignore_errors=True)


class Traffic:
    """Generates inferences of one model: six metadata, three detections, 400 bytes of answer."""

    def __init__(self, prefilled: int) -> None:
        self.random = random.Random(1)
        self.numbers = count(1)
        # Times go back from now, so that all of them are in current partitions.
        self.start = datetime.now(UTC) - timedelta(minutes=30)
        self.step = timedelta(days=2) / max(prefilled, 1)

    def inference_id(self, number: int) -> str:
        return f"inference-{number:012d}"

    def moment(self, number: int) -> datetime:
        return self.start - number * self.step

    def labels(self) -> list[str]:
        return [self.random.choice(LABELS) for _ in range(3)]

    def metadata(self, number: int) -> list[dict[str, str]]:
        chance = self.random
        pose = {"angle": chance.random(), "site": chance.choice("abcdefgh")}
        values = [
            ("camera", "string", f"camera-{chance.randrange(50)}"),
            ("operator", "string", f"operator-{chance.randrange(500)}"),
            ("frame", "int", str(number)),
            ("lane", "int", str(chance.randrange(8))),
            ("gain", "float", repr(chance.random())),
            ("pose", "json", json.dumps(pose)),
        ]
        return [{"key": k, "type": t, "value": v} for k, t, v in values]

    def answer(self) -> dict:
        chance = self.random
        found = [
            {
                "label": label,
                "score": round(chance.random(), 4),
                "bbox": [round(chance.random() * 640, 2) for _ in range(4)],
            }
            for label in self.labels()
        ]
        data = [json.dumps(found)]
        output = {"name": "out", "datatype": "BYTES", "shape": [1], "data": data}
        return {"model_name": "detector", "outputs": [output]}

    def new(self) -> NewInference:
        """Return one inference, as the listener builds it."""
        import hashlib

        from inferences.models import InferenceAction
        from inferences.models.metadata_values import MetadataValue
        from inferences.store.recording import NewInference

        number = next(self.numbers)
        answer = json.dumps(self.answer())
        digest = hashlib.sha256(answer.encode())
        found = json.loads(json.loads(answer)["outputs"][0]["data"][0])
        folder = f"1/1/2026/01/01/00/01999999-0000-7000-8000-{number:012d}"
        moment = "2026-01-01T00:00:00.000000Z"
        names = ("received", "forwarded", "responded", "published", "indexed")
        return NewInference(
            inference_id=self.inference_id(number),
            inference_action=InferenceAction.DETECT,
            data_hash=digest.digest(),
            data_size=20_000,
            created_at=self.moment(number),
            metadata=[
                MetadataValue(each["key"], each["type"], each["value"])
                for each in self.metadata(number)
            ],
            latitude=51 + self.random.random(),
            longitude=4 + self.random.random(),
            data_source=f"quay-{self.random.randrange(9)}",
            detections=[(each["label"], each["score"]) for each in found],
            data=answer,
            data_storage_key=f"{folder}/input",
            data_content_type="image/jpeg",
            answer_storage_key=f"{folder}/answer",
            content={"answer": digest.hexdigest()},
            notes={"times": dict.fromkeys(names, moment), "request_part": [0, 1]},
        )


class ScatteredTraffic(Traffic):
    """Random ids and moments in no order, with the labels of one of the ``MIXES``."""

    def __init__(self, mix: str) -> None:
        super().__init__(1)
        self.random = random.Random(os.urandom(16))
        self._labels, self._weights = MIXES[mix]

    def inference_id(self, number: int) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128)))

    def moment(self, number: int) -> datetime:
        return self.start - timedelta(days=DAYS) * self.random.random()

    def labels(self) -> list[str]:
        return self._labels and self.random.choices(self._labels, self._weights, k=3)


def rate(rows: int, work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return rows / (time.perf_counter() - begun)


class Bare:
    """The bare limit: ``COPY BINARY`` of the run's rows into tables without an index."""

    def __init__(self, rows: int) -> None:
        from django.db import connection

        self.rows = rows
        first = asked(
            "SELECT min(id) FROM (SELECT id FROM inferences_inference "
            f"ORDER BY id DESC LIMIT {rows}) AS last"
        )
        self.contents = {}
        with connection.cursor() as cursor:
            for table in SENT_TABLES:
                cursor.execute(f"CREATE TABLE bare_{table} (LIKE {table})")
                chosen = f"SELECT * FROM {table} WHERE id >= {first}"
                with cursor.copy(f"COPY ({chosen}) TO STDOUT BINARY") as copy:
                    self.contents[table] = b"".join(copy)
        self.rates: list[float] = []
        self.rate()

    @property
    def bytes_sent(self) -> float:
        return sum(map(len, self.contents.values())) / self.rows

    def rate(self) -> float:
        """Return the rows per second now; measured in each round, as the machine may be shared."""
        self.rates.append(rate(self.rows, self._send))
        return self.rates[-1]

    def _send(self) -> None:
        from django.db import connection, transaction

        with transaction.atomic(), connection.cursor() as cursor:
            for table, content in self.contents.items():
                cursor.execute(f"TRUNCATE bare_{table}")
                with cursor.copy(f"COPY bare_{table} FROM STDIN BINARY") as copy:
                    copy.write(content)


@dataclass(frozen=True)
class Figure:
    share: float
    shown: str
    speed: float = 0.0


def rounds(bare: Bare, measure: Callable[[], float], unit: str = "rows/s") -> Figure:
    """Return the median rate, and the median of its share of the bare limit of its round."""
    found = []
    for _ in range(ROUNDS):
        before, speed, after = bare.rate(), measure(), bare.rate()
        found.append((speed, 2 * speed / (before + after)))
    speed, share = (statistics.median(each) for each in zip(*found, strict=True))
    return Figure(share, f"{speed:,.0f} {unit}", speed)


def asked(sql: str) -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def size_on_disk() -> int:
    return asked(
        "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class "
        "WHERE relkind = 'r' AND relname LIKE 'inferences\\_%'"
    )


def wal_position() -> int:
    return asked("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")


def recording(model: RegisteredModel, traffic: Traffic, size: int, rows: int) -> float:
    """Return the rate of new rows in batches of this size."""
    from inferences.store.recording import record

    batches = [[traffic.new() for _ in range(size)] for _ in range(rows // size)]

    def write() -> None:
        for batch in batches:
            record(model, batch)

    return rate(rows, write)


def new_model(name: str) -> RegisteredModel:
    from inferences.models import RegisteredModel, TaskType
    from istore.models import Project

    project = Project.objects.get(project_id="benchmark")
    detection = TaskType.OBJECT_DETECTION
    return RegisteredModel.objects.create(
        model_id=name, project=project, task_type=detection
    )


def write_scattered(
    name: str, mix: str, rows: int, ready: Barrier, took: Queue[tuple[float, float]]
) -> None:
    """Write rows of a new model in a process of their own; tell when that began and ended."""
    import django

    django.setup()
    from inferences.store.recording import record

    model, traffic = new_model(name), ScatteredTraffic(mix)
    batches = [[traffic.new() for _ in range(1000)] for _ in range(rows // 1000)]
    ready.wait()
    begun = time.perf_counter()
    for batch in batches:
        record(model, batch)
    took.put((begun, time.perf_counter()))


def writing(writers: int, rows: int, names: Iterator[int]) -> float:
    """Return the rate at which so many processes write scattered rows, each of a new model."""
    spawning = multiprocessing.get_context("spawn")
    ready, took = spawning.Barrier(writers), spawning.Queue()
    processes = []
    for _ in range(writers):
        number = next(names)
        mix = list(MIXES)[number % len(MIXES)]
        given = f"scattered-{number}", mix, rows, ready, took
        processes.append(spawning.Process(target=write_scattered, args=given))
    for process in processes:
        process.start()
    begun, ended = zip(*(took.get(timeout=600) for _ in processes), strict=True)
    for process in processes:
        process.join()
    return writers * rows / (max(ended) - min(begun))


def prefill(model: RegisteredModel, traffic: Traffic, rows: int) -> None:
    from inferences.store.recording import record

    for _ in range(rows // 1000):
        record(model, [traffic.new() for _ in range(1000)])


def prepare_events(
    model: RegisteredModel, traffic: Traffic, rows: int
) -> list[InferenceEvent]:
    """Put packs (without fsync, to save time), and return the events that name their members."""
    from ingest.tests.builders import make, put_packs

    os.fsync = lambda descriptor: None
    made = [
        make(
            model,
            f"event-{number:012d}",
            received_at=traffic.start + timedelta(microseconds=number),
            answer=traffic.answer(),
            metadata=traffic.metadata(number),
            latitude=51.9,
            longitude=4.1,
            data_source="quay-1",
        )
        for number in range(rows)
    ]
    return [
        event
        for at in range(0, rows, IN_A_PACK)
        for event in put_packs(made[at : at + IN_A_PACK])
    ]


def follow(seen: Callable[[], int], goal: int) -> float:
    """Return events per second, from the first progress that was seen to the last."""
    while not (first := seen()):
        time.sleep(0.01)
    begun = time.perf_counter()
    while (last := seen()) < goal:
        time.sleep(0.02)
    return (last - first) / (time.perf_counter() - begun)


def measure_listener(events: list[InferenceEvent]) -> tuple[float, float, float]:
    """Return the rates of new and duplicate events, and the listener's CPU seconds per event."""
    from ingest.stream import EventStream

    stream = EventStream()
    stream.ensure_group()
    stream.publish(events)
    listener = subprocess.Popen([sys.executable, str(ROOT / "manage.py"), "listen"])
    try:
        new = follow(
            lambda: asked(
                "SELECT count(*) FROM inferences_inferencekey "
                "WHERE inference_id LIKE 'event-%'"
            ),
            len(events),
        )
        ticks = Path(f"/proc/{listener.pid}/stat").read_text().rsplit(")", 1)[1].split()
        used = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        stream.trim()
        stream.publish(events)

        def acknowledged() -> int:
            lag = stream.lag()
            return len(events) - lag.waiting - lag.pending

        copies = follow(acknowledged, len(events))
    finally:
        listener.terminate()
        listener.wait(30)
        stream.close()
    return new, copies, used / len(events)


def set_up() -> RegisteredModel:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "istore.settings"
    django.setup()
    from django.core.management import call_command

    from inferences.models import RegisteredModel, TaskType
    from istore.models import Project

    call_command("migrate", verbosity=0)
    return RegisteredModel.objects.create(
        model_id="detector",
        project=Project.objects.create(project_id="benchmark"),
        task_type=TaskType.OBJECT_DETECTION,
    )


def redelivering(model: RegisteredModel, traffic: Traffic) -> Callable[[], float]:
    from inferences.store.recording import record

    batches = [[traffic.new() for _ in range(1000)] for _ in range(10)]

    def write() -> None:
        for batch in batches:
            record(model, batch)

    write()
    return lambda: rate(10_000, write)


def run(given: argparse.Namespace) -> None:
    model, traffic = set_up(), Traffic(given.rows)
    empty = size_on_disk()
    begun = time.perf_counter()
    prefill(model, traffic, given.rows)
    took = time.perf_counter() - begun
    disk = (size_on_disk() - empty) / given.rows
    bare = Bare(min(given.rows, 20_000))
    sent = bare.bytes_sent
    found: dict[str, Figure] = {}
    logged = wal_position()
    for _ in range(10):
        recording(model, traffic, 1000, 1000)
    wal = (wal_position() - logged) / 10_000
    for size, rows in ((1000, 10_000), (100, 5_000), (1, 500)):
        found[f"record, batch {size}"] = rounds(
            bare, partial(recording, model, traffic, size, rows)
        )
    names = count()
    for writers in (1, 2):
        found[f"scattered, writers {writers}"] = rounds(
            bare, partial(writing, writers, 5_000, names)
        )
    found["re-delivery"] = rounds(bare, redelivering(model, traffic))
    found["bytes on disk"] = Figure(disk / sent, f"{disk:,.0f} bytes")
    found["WAL"] = Figure(wal / sent, f"{wal:,.0f} bytes")

    before = bare.rate()
    events = prepare_events(model, traffic, given.events)
    new, copies, used = measure_listener(events)
    limit = (before + bare.rate()) / 2
    found["stream to rows"] = Figure(new / limit, f"{new:,.0f} events/s")
    found["stream, copies"] = Figure(copies / limit, f"{copies:,.0f} events/s")

    print(f"{given.rows} rows before, in {took:.0f} s; {sent:,.0f} bytes sent each")
    print(f"bare limit {statistics.median(bare.rates):,.0f} rows/s, in this run from")
    print(f"{min(bare.rates):,.0f} to {max(bare.rates):,.0f}")
    report(found, given.rows)
    one, two = (found[f"scattered, writers {n}"].speed for n in (1, 2))
    print(f"Two writers have {two / one:.2f} of one writer's rate (target 1.7).")
    note("two writers", two, "rows/s", limit=one, target=1.7)
    print(f"The listener used {used * 1e6:,.0f} us of CPU for each event.")
    note("listener", used * 1e6, "µs an event", target=250, fewer=True)


def report(found: dict[str, Figure], rows: int) -> None:
    print(f"{'':20} {'measured':>18} {'share':>8} {'target':>8}")
    for name, figure in found.items():
        share, target = figure.share, TARGETS.get(name)
        if name == "record, batch 1000" and rows >= LEAST_FOR_THAT:
            target = TARGET_OF_A_MILLION
        wanted = f"{target:8.3f}" if target else f"{'':>8}"
        is_cost = name in ("bytes on disk", "WAL")
        note(name, share, "of the limit", target=target, fewer=is_cost)
        missed = target and (share > target if is_cost else share < target)
        print(
            f"{name:20} {figure.shown:>18} {share:8.3f} {wanted} {'missed' if missed else ''}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="in the partition")
    parser.add_argument("--events", type=int, default=20_000, help="through the stream")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    given = parser.parse_args()
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
