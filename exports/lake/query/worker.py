"""The process that answers one query of the lake by DuckDB. It has no Django and no secrets.

It reads one job as a line of JSON, answers with the tables that the statement names, reads where
their files are, and answers with the rows. Three walls stand between the statement and the machine:
only one SELECT without unknown table functions is run; DuckDB has no access to files, settings
and Python's variables; and the process has limits of memory, time and of files that it writes.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import resource
import signal
import sys
import uuid
from collections.abc import Iterator
from typing import Any


class Unneeded:
    """Keeps the libraries out that Arrow and DuckDB import where they are installed.

    A query does without them, and they took half of the time until the process could answer.
    """

    @staticmethod
    def find_spec(name: str, *rest: Any) -> None:
        if name in ("pandas", "numpy"):
            raise ModuleNotFoundError(name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Unneeded)

import duckdb  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.dataset  # noqa: E402
import pyarrow.fs  # noqa: E402

# Nodes of a statement that only reads. Others, such as those of an INSERT, are refused.
QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"}
# Functions that stand for a table and read nothing but their arguments.
TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "json_each", "json_tree"}
# Functions that only wait, or write to the engine's log.
REFUSED_FUNCTIONS = {"pg_sleep", "sleep_ms", "write_log"}
# Address space beside DuckDB's memory: the libraries, and the buffers of Arrow.
MEMORY_BASE = 2 * 1024**3
BATCH = 256


class Refused(Exception):
    """The statement is not run; the text says why."""


def main() -> None:
    job = receive()
    limit(job)
    try:
        # The threads of Arrow come with their stacks: as few as DuckDB has.
        pa.set_cpu_count(job["threads"])
        pa.set_io_thread_count(job["threads"])
        connection = connect(job)
        named = list(tables_in(statement_of(connection, job["sql"])))
        send({"tables": named})
        given = receive()
        register(connection, given)
        send(answer(connection, job))
    except Refused as error:
        send({"refused": str(error)})
    except (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError):
        send({"limit": "memory"})
    except (OSError, pa.ArrowException):
        send({"failed": True})  # a file went meanwhile, or the bucket does not answer
    except duckdb.Error as error:
        if "arrow_scan: get_" in str(error):
            send(
                {"failed": True}
            )  # a file cannot be read; its text names paths and hosts
        else:
            send({"refused": (str(error).splitlines() or ["It fails."])[0]})


def receive() -> Any:
    return json.loads(sys.stdin.readline())


def send(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, allow_nan=False) + "\n")
    sys.stdout.flush()


def limit(job: dict[str, Any]) -> None:
    """Bound memory, processor time and time; no file may be written."""
    memory = MEMORY_BASE + job["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    seconds = job["seconds"] * job["threads"] + 5
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    # The parent ends what is late; this ends it where the parent has gone.
    signal.setitimer(signal.ITIMER_REAL, job["seconds"] + 30)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def connect(job: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Return an empty database in memory."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{job['memory_bytes'] // 1024}KiB",
            "threads": job["threads"],
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "max_temp_directory_size": "0B",
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


# -- what may be asked


def statement_of(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """Return the parsed statement. Raises ``Refused`` unless it is one SELECT."""
    rows = connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchall()
    parsed = json.loads(rows[0][0])
    if parsed.get("error"):
        raise Refused(parsed.get("error_message", "This is not a SELECT."))
    if len(parsed["statements"]) != 1:
        raise Refused("One SELECT is expected.")
    for node in nodes(parsed):
        check(node)
        check_function(node)
    return parsed


def nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a parsed statement, without recursion."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def check(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if not isinstance(kind, str):
        return
    if kind.endswith("_NODE") and kind not in QUERIES:
        raise Refused("Only SELECT is allowed, in parts of a statement as well.")
    if kind == "TABLE_FUNCTION":
        name = str(node.get("function", {}).get("function_name", "")).lower()
        if name not in TABLE_FUNCTIONS:
            raise Refused(f"The function {name} is not allowed as a table.")


def check_function(node: dict[str, Any]) -> None:
    name = str(node.get("function_name", "")).lower()
    if name in REFUSED_FUNCTIONS:
        raise Refused(f"The function {name} is not allowed.")


def tables_in(statement: Any) -> Iterator[list[str]]:
    """Yield the schema (or nothing) and the name of every table that is named."""
    for node in nodes(statement):
        if node.get("type") == "BASE_TABLE":
            yield [node.get("schema_name") or "", node.get("table_name") or ""]


# -- the tables


def register(connection: duckdb.DuckDBPyConnection, given: dict[str, Any]) -> None:
    """Make the given tables known, and shut the database against everything else."""
    system = filesystem(given["storage"])
    for number, table in enumerate(given["tables"]):
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(table["schema"])))
        if table["paths"]:
            content: Any = pyarrow.dataset.dataset(
                table["paths"], schema=schema, format="parquet", filesystem=system
            )
        else:
            content = schema.empty_table()
        connection.register(f"_table_{number}", content)
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{table["namespace"]}"')
        for name in table["names"]:
            connection.execute(
                f'CREATE OR REPLACE VIEW {name} AS SELECT * FROM memory.main."_table_{number}"'
            )
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def filesystem(storage: dict[str, Any] | None) -> pyarrow.fs.FileSystem:
    """Return what reads the files: a folder of this machine, or a bucket."""
    if storage is None:
        return pyarrow.fs.LocalFileSystem()
    return pyarrow.fs.S3FileSystem(**storage)


# -- the answer


def answer(
    connection: duckdb.DuckDBPyConnection, job: dict[str, Any]
) -> dict[str, Any]:
    """Return the columns and the first rows, up to the bounds of rows and bytes."""
    result = connection.execute(job["sql"], job["values"] or None)
    columns = [
        {"name": name, "type": str(type_)} for name, type_, *_ in result.description
    ]
    rows: list[list[Any]] = []
    left = job["bytes"]
    is_complete = True
    while is_complete and (batch := result.fetchmany(BATCH)):
        for row in batch:
            cells = [plain(value) for value in row]
            left -= len(json.dumps(cells))
            if len(rows) >= job["rows"] or left < 0:
                is_complete = False
                break
            rows.append(cells)
    return {"columns": columns, "rows": rows, "is_complete": is_complete}


def plain(value: Any) -> Any:
    """Return a value as JSON has it; what JSON has no form for becomes text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal | uuid.UUID | datetime.timedelta):
        return str(value)
    return str(value)


if __name__ == "__main__":
    main()
