"""``istore lake``: tables of exported inferences, and SQL over them."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, Yes, app
from inference_store.errors import NotFound
from inference_store.models import LakeQuery, LakeTable

lake = typer.Typer(help="Exported inferences as tables, by SQL.", no_args_is_help=True)
app.add_typer(lake, name="lake")

Project = Annotated[
    str | None, typer.Option("--project", help="Only the tables of this project.")
]


@lake.command()
def tables(project: Project = None, as_json: AsJson = False) -> None:
    """List the tables of the lake."""

    def row(table: LakeTable) -> tuple[str, ...]:
        until = table.exported_until
        return (
            table.name,
            table.model_id,
            f"{table.row_count:,} rows",
            f"{table.file_count:,} files",
            f"{table.size:,} bytes",
            f"{until:%Y-%m-%d %H:%M:%S}" if until else "",
        )

    columns = ("table", "model", "rows", "files", "size", "exported until")
    with client() as store:
        output.show_list(store.lake.list_lake_tables(project), columns, row, as_json)


@lake.command()
def drop(
    name: Annotated[
        str, typer.Argument(metavar="TABLE", help="See: istore lake tables.")
    ],
    yes: Yes = False,
) -> None:
    """Delete a table whose schedule was deleted, with all its files."""
    if not yes:
        typer.confirm(f"Delete {name} with all its files?", abort=True)
    with client() as store:
        if store.lake.drop_lake_table(name) is None:
            raise NotFound("There is no such table.")


@lake.command()
def sql(
    statement: Annotated[
        str, typer.Argument(metavar="SQL", help="One SELECT; - reads it from stdin.")
    ],
    project: Project = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", help="The number of rows at most.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run one SELECT over tables of the lake."""
    if statement == "-":
        statement = sys.stdin.read()
    body = LakeQuery(sql=statement, project_id=project, limit=limit)
    with client() as store:
        found = store.lake.query_lake(body)
    names = [column.name for column in found.columns]
    if as_json:
        for row in found.rows:
            output.show_json(dict(zip(names, row, strict=True)))
    else:
        output.show_rows(names, (list(map(_cell, row)) for row in found.rows))
    if not found.is_complete:
        print("There are more rows than the limit.", file=sys.stderr)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
