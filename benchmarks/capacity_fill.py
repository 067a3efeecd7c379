"""Measure what one inference of each kind of model takes: bytes of the database, WAL, processor.

``python benchmarks/capacity_fill.py`` starts its own PostgreSQL, stores ``--rows`` inferences of
each kind in batches of 1,000, with random ids and moments of 30 days in no order, builds segments
and the index of vectors, and writes the figures to ``benchmarks/capacity.json``, from which
``capacity.py`` computes. Inputs are not stored: their sizes are inputs of ``capacity.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ingest import asked, servers, wal_position  # noqa: E402

if TYPE_CHECKING:
    from inferences.models import RegisteredModel

MEASURED = ROOT / "benchmarks" / "capacity.json"
DAYS, BATCH, DIMENSIONS = 30, 1000, 384
LABELS = ("ship", "boat", "buoy", "crane")
TICKS = os.sysconf("SC_CLK_TCK")
SIZES = """
SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint, coalesce(sum(pg_indexes_size(oid)), 0)::bigint
FROM pg_class WHERE relkind = 'r' AND relname LIKE 'inferences\\_%%' AND (relname LIKE '%%segment%%') = %s
"""


def detection(chance: random.Random) -> dict[str, Any]:
    """Return three boxes."""
    corners = {"xmin": 1.5, "ymin": 2.5, "xmax": 30.25, "ymax": 40.75}
    found = [
        {"label": chance.choice(LABELS), "score": round(chance.random(), 4)} | corners
        for _ in range(3)
    ]
    return {
        "data": json.dumps({"object_detection": found}),
        "detections": [(each["label"], each["score"]) for each in found],
    }


def tabular(chance: random.Random) -> dict[str, Any]:
    """Return one of two classes with its probability."""
    yes = round(chance.random(), 4)
    scores = [{"yes": yes}, {"no": round(1 - yes, 4)}]
    return {
        "data": json.dumps({"tabular_classification": scores}),
        "detections": [("yes", yes), ("no", 1 - yes)],
    }


def text(chance: random.Random) -> dict[str, Any]:
    """Return a prompt of 300 words and an answer of 150, some of them frequent."""

    def words(count: int) -> str:
        return " ".join(f"w{int(50_000 ** chance.random())}" for _ in range(count))

    return {"data": json.dumps({"inputs": {"text": words(300)}, "text": words(150)})}


def embedding(chance: random.Random) -> dict[str, Any]:
    """Return a vector, which is kept beside the answer's excerpt."""
    return {"data": "{}", "embedding": [chance.gauss(0, 1) for _ in range(DIMENSIONS)]}


# By kind: its type of task, and how its answers are made.
KINDS: dict[str, tuple[str, Callable[[random.Random], dict[str, Any]]]] = {
    "detection": ("Object Detection", detection),
    "tabular": ("Tabular Classification", tabular),
    "text": ("Text Generation", text),
    "embedding": ("Text Embedding", embedding),
}


def new_inferences(kind: str, rows: int, chance: random.Random) -> list[Any]:
    from inferences.models import InferenceAction
    from inferences.models.metadata_values import MetadataValue
    from inferences.store.recording import NewInference

    now, answer = datetime.now(UTC), KINDS[kind][1]
    made = []
    for _ in range(rows):
        given = [
            ("camera", "string", f"camera-{chance.randrange(50)}"),
            ("operator", "string", f"operator-{chance.randrange(500)}"),
            ("frame", "int", str(chance.randrange(10**6))),
            ("lane", "int", str(chance.randrange(8))),
            ("gain", "float", repr(chance.random())),
        ]
        folder = f"1/1/2026/01/01/00/{uuid.UUID(int=chance.getrandbits(128))}.inputs"
        made.append(
            NewInference(
                inference_id=str(uuid.UUID(int=chance.getrandbits(128))),
                inference_action=InferenceAction.PREDICT,
                data_hash=chance.randbytes(32),
                data_size=20_000,
                created_at=now - timedelta(days=DAYS) * chance.random(),
                metadata=[MetadataValue(*each) for each in given],
                data_source=f"quay-{chance.randrange(9)}",
                data_storage_key=f"{folder}#1234567-20000",
                answer_storage_key=f"{folder}#7654321-400",
                content={"answer": chance.randbytes(32).hex()},
                notes={"times": {"received": "2026-01-01T00:00:00.000000Z"}},
                **answer(chance),
            )
        )
    return made


def backend_seconds() -> float:
    """Return the processor time of the backend of this connection."""
    fields = Path(f"/proc/{asked('SELECT pg_backend_pid()')}/stat").read_text()
    user, system = fields.rpartition(") ")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def sizes(of_segments: bool) -> tuple[int, int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(SIZES, [of_segments])
        table, indexes = cursor.fetchone()
    return int(table), int(indexes)


def vacuum() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def measure(kind: str, rows: int) -> dict[str, float]:
    """Store rows of a kind, and return what each takes."""
    from inferences.models import RegisteredModel
    from inferences.search.vectors import indexing
    from inferences.search.zone_maps import build
    from inferences.store.recording import record
    from istore.models import Project

    model: RegisteredModel = RegisteredModel.objects.create(
        model_id=kind,
        project=Project.objects.get(),
        task_type=KINDS[kind][0],
        embedding_size=DIMENSIONS if kind == "embedding" else 0,
    )
    chance = random.Random(1)
    record(model, new_inferences(kind, 10, chance))  # keys, labels, sources, partitions
    vacuum()
    table, indexes = sizes(of_segments=False)
    in_segments = sum(sizes(of_segments=True))
    python = backend = 0.0
    logged = wal_position()
    for begun in range(0, rows, BATCH):
        batch = new_inferences(kind, min(BATCH, rows - begun), chance)
        before, spent = backend_seconds(), time.process_time()
        record(model, batch)
        python += time.process_time() - spent
        backend += backend_seconds() - before
    logged = wal_position() - logged
    vacuum()
    filled = sizes(of_segments=False)
    build.LEAST = min(build.LEAST, rows // 2)
    while build.seal():
        pass
    segments = sum(sizes(of_segments=True)) - in_segments
    vectors = 0
    if kind == "embedding" and indexing.index(model):
        vectors = sizes(of_segments=False)[1] - filled[1]
    return {
        "rows_bytes": (filled[0] - table) / rows,
        "index_bytes": (filled[1] - indexes) / rows,
        "vector_index_bytes": vectors / rows,
        "segment_bytes": segments / rows,
        "wal_bytes": logged / rows,
        "python_us": python / rows * 1e6,
        "database_us": backend / rows * 1e6,
    }


def run(given: argparse.Namespace) -> None:
    from benchmarks import query

    query.set_up()
    found = {kind: measure(kind, given.rows) for kind in given.kinds}
    for kind, figures in found.items():
        told = ", ".join(f"{name} {value:,.0f}" for name, value in figures.items())
        print(f"{kind:10} {told}")
    print(f"load {os.getloadavg()[0]:.1f}")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    ).stdout.strip()
    kept = {
        "commit": commit,
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "rows": given.rows,
        "load": round(os.getloadavg()[0], 1),
        "kinds": {
            kind: {name: round(value, 1) for name, value in figures.items()}
            for kind, figures in found.items()
        },
    }
    given.output.write_text(json.dumps(kept, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=60_000, help="of each kind")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--output", type=Path, default=MEASURED)
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    given = parser.parse_args()
    if given.rows < BATCH:
        parser.error(f"--rows: at least {BATCH}")
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
