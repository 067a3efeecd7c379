"""Measure how fast retention removes, and compare with bare deletes of the same rows and packs.

``python benchmarks/retention.py`` starts its own PostgreSQL and Valkey. Two models get the
same inferences; the oldest quarter has its inputs and records in packs of 200, as capture
puts them at 100 a second, and fills the oldest partition. A hard policy removes that quarter
of one model. Of the other, SQL deletes it in batches of the same size, and the packs are
unlinked. ``--rows 2000000`` is the size of the target. During both, another process reads
pages of the remaining rows all the time, as bare SQL.

With ``--directory /dev/shm`` there is no disk to wait for, and only processor time counts.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import query_data  # noqa: E402
from benchmarks.figures import note  # noqa: E402
from benchmarks.ingest import servers, set_up  # noqa: E402
from benchmarks.query import BARE_PAGE, Bare  # noqa: E402

if TYPE_CHECKING:
    from inferences.models import RegisteredModel

MEMBERS = 200  # of a pack
SHARE = 4  # one in four inferences is removed
RATE_LEAST, MEMORY_MOST, PAGE_MOST = 0.7, 150, 2.0
TABLES = ("inference", "inferencepayload", "detection", "overflownumber")


def fill(name: str, rows: int, first: int) -> RegisteredModel:
    model = query_data.register(name)
    query_data.fill(model, rows, first)
    return model


def split_at_what_goes() -> None:
    """Create partitions as of an old store: one for each quarter of the time."""
    from django.db import connection

    from inferences.store import partitions

    length = timedelta(days=query_data.DAYS / SHARE)
    edges = [query_data.START + length * number for number in range(SHARE + 1)]
    with connection.cursor() as cursor:
        for table in partitions.TABLES:
            for name in partitions.partitions_of(table.name):
                cursor.execute(f"DROP TABLE {name}")
        for edge in zip([None, *edges], [*edges, edges[-1] + length], strict=True):
            for statement in partitions.add_partition(*edge):
                cursor.execute(statement)


def oldest(model: RegisteredModel, count: int) -> list[tuple[int, str, str]]:
    """Return row ids, inference ids and hours of the inferences that will be removed."""
    from inferences.models.row_ids import moment_of
    from istore import blobs

    rows = model.inferences.order_by("id")
    found = rows.values_list("id", "inference_id")[:count]
    where = (model.project_id, model.pk)
    return [
        (pk, name, blobs.prefix_for(*where, moment_of(pk), "")[:-1])
        for pk, name in found
    ]


def put_packs(model: RegisteredModel, rows: list[tuple[int, str, str]]) -> list[str]:
    """Put the blobs of these rows into packs, point the rows at them, and return the packs."""
    from django.db import connection

    from istore import blobs
    from istore.blobs import packs

    made: list[str] = []
    for hour, of_hour in itertools.groupby(rows, lambda row: row[2]):
        while some := list(itertools.islice(of_hour, MEMBERS)):
            names = [os.urandom(16) for _ in some]
            inputs = packs.build_inputs(
                packs.new_key(hour, packs.INPUTS), [(n, b"x" * 100) for n in names]
            )
            records = packs.build_records(
                packs.new_key(hour, packs.RECORDS),
                [(n, b"{}" * 100, b"y" * 400) for n in names],
            )
            for pack in (inputs, records):
                blobs.put(pack.key, pack.body)
                made.append(pack.key)
            values = [
                [row_id for row_id, *_ in some],
                [member.content_key(inputs.key) for member in inputs.members],
                [member.content_key(records.key) for member in records.members],
                model.pk,
            ]
            with connection.cursor() as cursor:
                cursor.execute(POINT, values)
    return made


POINT = """
UPDATE inferences_inferencepayload AS payload
SET data_storage_key = new.data, answer_storage_key = new.answer
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS new (id, data, answer)
WHERE model_key = %s AND payload.id = new.id
"""


def bare(
    model: RegisteredModel,
    root: Path,
    rows: list[tuple[int, str, str]],
    packs: list[str],
    size: int,
) -> tuple[float, float]:
    """Return the seconds of unlinking packs, and of plain SQL: the bare limit."""
    from django.db import connection, transaction

    unlinking = deleting = 0.0
    left = list(reversed(packs))
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        begun = time.perf_counter()
        until = len(packs) * (len(rows) - start - len(batch)) // len(rows)
        while len(left) > until:
            os.unlink(root / left.pop())
        unlinked = time.perf_counter()
        ids, names = [row_id for row_id, *_ in batch], [name for _, name, _ in batch]
        with transaction.atomic(), connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(
                    f"DELETE FROM inferences_{table} WHERE model_key = %s AND id = ANY(%s)",
                    [model.pk, ids],
                )
            cursor.execute(
                "UPDATE inferences_inferencekey SET removed_at = now() "
                "WHERE model_key = %s AND inference_id = ANY(%s)",
                [model.pk, names],
            )
        unlinking += unlinked - begun
        deleting += time.perf_counter() - unlinked
    return unlinking, deleting


def look(model_key: int, times: Any, ended: Any) -> None:
    """Read pages one after the other until the run is over, and append their times."""
    import django

    django.setup()
    database = Bare()
    while not ended.is_set():
        times.append(database.run([BARE_PAGE.format(model=model_key)]))
        time.sleep(0.02)


def paged(model: RegisteredModel, work: Any) -> tuple[Any, list[float]]:
    """Return the result of the work, and how long pages took meanwhile."""
    from django.db import connection

    connection.close()
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        times, ended = manager.list(), manager.Event()
        process = context.Process(target=look, args=(model.pk, times, ended))
        process.start()
        while len(times) < 5:
            time.sleep(0.05)
        done = work()
        ended.set()
        process.join(30)
        return done, list(times)


def retain(model: RegisteredModel, hours: int) -> tuple[float, Any]:
    from retention.models import DeleteAction, RetentionPolicy
    from retention.policies import open_task
    from retention.sweeping import sweep

    policy = RetentionPolicy.objects.create(
        model=model,
        maximum_record_age=hours,
        maximum_blob_age=hours,
        delete_action=DeleteAction.HARD,
    )
    task = open_task("benchmark", policy)
    begun = time.perf_counter()
    sweep(task)
    took = time.perf_counter() - begun
    task.refresh_from_db()
    return task.deleted_record_count / took, task


def gigabytes() -> float:
    """Return the size of all partitions with their indexes, in GB."""
    from django.db import connection

    from inferences.store.partitions import TABLES

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
            "WHERE inhparent = ANY(%s::regclass[])",
            [[table.name for table in TABLES]],
        )
        return float(cursor.fetchone()[0]) / 1e9


def processor(work: Any) -> tuple[float, float]:
    """Return the work's result, and the processor seconds of this process and its session."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        stat = Path(f"/proc/{cursor.fetchone()[0]}/stat")

    def spent() -> float:
        ticks = sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()

    before = spent()
    return work(), spent() - before


def memory(which: str) -> float:
    """Return the memory of this process in MB: current (VmRSS) or peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


def run(given: argparse.Namespace) -> None:
    set_up()
    split_at_what_goes()
    from django.conf import settings

    root = Path(settings.STORAGES["default"]["OPTIONS"]["location"])
    size, gone = settings.ISTORE_REMOVAL_BATCH, given.rows // SHARE
    kept = fill("kept", given.rows, 0)
    limit = fill("limit", given.rows, given.rows)
    query_data.settle()
    hours = query_data.DAYS * 24 * (SHARE - 1) // SHARE
    put_packs(kept, oldest(kept, gone + 100))
    rows = oldest(limit, gone + 100)
    packs = put_packs(limit, rows)
    query_data.settle()  # the rows that were pointed at packs left dead ones behind
    _, before = paged(kept, lambda: time.sleep(5))
    ((unlinking, deleting), least), beside = paged(
        kept, lambda: processor(lambda: bare(limit, root, rows, packs, size))
    )
    most, statements = len(rows) / (unlinking + deleting), len(rows) / deleting
    rows.clear()
    filled = gigabytes()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, VmHWM
    idle = memory("VmRSS")
    ((rate, task), spent), during = paged(
        kept, lambda: processor(lambda: retain(kept, hours))
    )
    used = memory("VmHWM") - idle
    left = gigabytes()
    share, slower = rate / most, p95(during) / p95(before)
    print(f"{given.rows:,} rows of each, {gone:,} to go; batches of {size:,}")
    print(f"{task.state}: {task.deleted_record_count:,} records went")
    print(
        f"bare deletes {most:,.0f}/s, their SQL alone {statements:,.0f}/s, "
        f"retention {rate:,.0f}/s"
    )
    print(
        f"share of the limit {share:.2f} {_missed(share < RATE_LEAST)}, "
        f"of its SQL alone {rate / statements:.2f}"
    )
    note("hard delete", rate, "rows/s", limit=most, target=RATE_LEAST)
    note("beside its SQL alone", rate, "rows/s", limit=statements, target=0.6)
    note("memory over idle", used, "MB", target=MEMORY_MOST, fewer=True)
    note("page p95, times", slower, "times", target=PAGE_MOST, fewer=True)
    each = 1e6 / gone
    print(
        f"processor time {least * each:.0f} us a row bare, {spent * each:.0f} us by retention"
    )
    print(f"memory over idle {used:.0f} MB {_missed(used > MEMORY_MOST)}")
    print(
        f"page p95 {p95(before):.2f} ms before, {p95(beside):.2f} ms beside bare deletes, "
        f"{p95(during):.2f} ms beside retention: "
        f"{slower:.1f} times {_missed(slower > PAGE_MOST)}"
    )
    print(f"partitions {filled:.2f} GB before, {left:.2f} GB after")
    print(f"load {os.getloadavg()[0]:.1f}")


def _missed(is_missed: bool) -> str:
    return "missed" if is_missed else "met"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000, help="of each model")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    given = parser.parse_args()
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
