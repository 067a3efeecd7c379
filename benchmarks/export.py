"""Measure how fast inferences are exported as a Parquet table, and compare with a bare limit.

``python benchmarks/export.py`` starts its own PostgreSQL, durable as in production, and
carries out an export task as a worker does: fix the set, read, parse, encode, store. The
bare limit, in the same run, is one ``COPY TO`` of the same columns of the same rows, whose
output is discarded, followed by pyarrow's encoding of the finished table. The export runs in
its own process, so that its peak memory can be measured. With ``--pages`` the pages of another
model are read all the time, before and during an export.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import query_data  # noqa: E402
from benchmarks.figures import note  # noqa: E402
from benchmarks.ingest import servers  # noqa: E402

if TYPE_CHECKING:
    from inferences.models import RegisteredModel

SHARE_LEAST, MEMORY_MOST, PAGE_MOST = 0.5, 300 * 2**20, 1.5
MODEL, BESIDE = "exported", "beside"
FORMATS = ("parquet", "avro", "csv", "jsonl")
HEADS = ("", "seconds", "rows/s", "share", "memory MB")


def set_up(rows: int) -> RegisteredModel:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    model = query_data.register(MODEL)
    query_data.fill(model, rows, answer=query_data.BOXES)
    query_data.settle()
    model.refresh_from_db()
    return model


def measure_pages() -> None:
    """Print the p95 of the pages of another model before and during an export."""
    from benchmarks.retention import p95, paged

    beside = query_data.register(BESIDE)
    query_data.fill(beside, 50_000)
    query_data.settle()
    _, before = paged(beside, lambda: time.sleep(10))
    _, during = paged(beside, lambda: exported("parquet"))
    slower = p95(during) / p95(before)
    note("page p95 during an export", slower, "times", target=PAGE_MOST, fewer=True)
    missed = " missed" if slower > PAGE_MOST else ""
    print(
        f"page p95 {p95(before):.2f} ms before, {p95(during):.2f} ms during an export: "
        f"{slower:.2f} times{missed}; load {os.getloadavg()[0]:.1f}"
    )


def copied(model: RegisteredModel) -> float:
    """Return the seconds that PostgreSQL takes to return the same columns by ``COPY TO``."""
    from django.db import connection

    from exports.formats.open_inference import reading
    from exports.formats.open_inference.layout import Layout, Shape
    from exports.formats.open_inference.tables import Tables

    tables = Tables(Layout.of(model, Shape.FLAT))
    columns = ", ".join(source.sql for source in tables.sources)
    rows = reading.COLUMNS_OF_LIVE.format(columns=columns)
    statement = f"COPY ({rows}) TO STDOUT (FORMAT binary)"
    values = [
        *(value for source in tables.sources for value in source.values),
        model.pk,
    ]
    begun = time.perf_counter()
    with connection.cursor() as cursor, cursor.copy(statement, values) as copy:
        for _ in copy:
            pass
    return time.perf_counter() - begun


def encoded(model: RegisteredModel) -> float:
    """Return the seconds that pyarrow takes to encode the finished batches."""
    from django.conf import settings

    from exports.formats.open_inference.layout import Layout, Shape
    from exports.formats.open_inference.parquet import ParquetWriter
    from exports.formats.open_inference.tables import Tables

    layout = Layout.of(model, Shape.FLAT)
    tables = Tables(layout)
    ids = list(model.inferences.live().order_by("id").values_list("id", flat=True))
    taken = 0.0
    with tempfile.TemporaryFile() as file:
        writer = ParquetWriter(file, layout.schema, {})
        for rows in tables.all_rows(ids, settings.ISTORE_EXPORT_ROW_GROUP):
            batch = rows.batch
            begun = time.perf_counter()
            writer.write(batch)
            taken += time.perf_counter() - begun
        begun = time.perf_counter()
        writer.close()
        return taken + time.perf_counter() - begun


class WithoutPandas:
    """An import hook that hides pandas: pyarrow imports it, but only tests install it."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def export(format_: str, model_id: str) -> None:
    """Carry out one export task in this process; print its seconds and its peak of memory."""
    sys.meta_path.insert(0, WithoutPandas())
    from exports.archive_writer import carry_out
    from exports.models import ExportTask
    from inferences.models import RegisteredModel

    task = ExportTask.objects.create(
        model=RegisteredModel.objects.get(model_id=model_id),
        created_by="benchmark",
        format=f"open_inference_{format_}",
        selection={},
    )
    begun = time.perf_counter()
    carry_out(task)
    taken = time.perf_counter() - begun
    if task.state != "complete":
        raise SystemExit(f"{task.state}: {task.reason}")
    print(taken, peak())


def peak() -> int:
    """Return the peak memory of this process in bytes.

    ``ru_maxrss`` is no use here, because it includes the peak of the parent before the exec.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (most,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(most)


def exported(format_: str, model_id: str = MODEL) -> tuple[float, int]:
    """Return the seconds and the peak of memory of an export task, in a process of its own."""
    # Exports of a store run at this priority: see ``supervisor.stack``.
    argv = ["nice", "-n", "10", sys.executable, __file__, "--carry-out", format_]
    argv += ["--model", model_id]
    environment = os.environ | {"ISTORE_EXPORT_MAX": "1000000000"}
    ended = subprocess.run(argv, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(ended.stderr[-3000:])
    taken, most = ended.stdout.split()[-2:]
    return float(taken), int(most)


def run(given: argparse.Namespace) -> None:
    start_django()
    model = set_up(given.rows)
    rows = model.inferences.live().count()
    print(f"{rows:,} rows; load {os.getloadavg()[0]:.1f}")
    copies = [copied(model) for _ in range(given.rounds)]
    encodings = [encoded(model) for _ in range(given.rounds)]
    bare = statistics.median(copies) + statistics.median(encodings)
    print(
        f"COPY {statistics.median(copies):.2f} s and encoding "
        f"{statistics.median(encodings):.2f} s: {rows / bare:,.0f} rows/s"
    )
    print("{:10}{:>10}{:>12}{:>8}{:>12}".format(*HEADS))
    for format_ in given.formats.split(","):
        runs = [exported(format_) for _ in range(given.rounds)]
        taken = statistics.median(seconds for seconds, _ in runs)
        most = max(memory for _, memory in runs)
        share = bare / taken
        limit, least = rows / bare, SHARE_LEAST
        note(f"{format_}", rows / taken, "rows/s", limit=limit, target=least)
        most_mb, name = MEMORY_MOST / 2**20, f"{format_}, memory"
        note(name, most / 2**20, "MB", target=most_mb, fewer=True)
        missed = " missed" if share < SHARE_LEAST or most > MEMORY_MOST else ""
        print(
            f"{format_:10}{taken:10.2f}{rows / taken:12,.0f}{share:8.2f}"
            f"{most / 2**20:12.0f}{missed}"
        )
    if given.pages:
        measure_pages()
    print(f"load {os.getloadavg()[0]:.1f}")


def start_django() -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "istore.settings"
    django.setup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", default="parquet", help=",".join(FORMATS))
    parser.add_argument("--pages", action="store_true", help="pages meanwhile, too")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    parser.add_argument("--carry-out", help=argparse.SUPPRESS)
    parser.add_argument("--model", default=MODEL, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.carry_out:
        start_django()
        export(given.carry_out, given.model)
        return
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
