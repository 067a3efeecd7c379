"""The Typer application, and the arguments that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Find, store and delete inferences.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="The id of a model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, an object per line.")]
InferenceId = Annotated[
    str, typer.Argument(metavar="INFERENCE", help="The id of an inference.")
]
InferenceIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[INFERENCE]...", help="Ids of inferences."),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Select all inferences of the model.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only count or list, and change nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Format = Annotated[str, typer.Option("--format", "-f", help="See: istore formats.")]
Container = Annotated[str, typer.Option(help="zip or tar.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A file, or a directory to put it in."),
]
Values = Annotated[
    list[str] | None,
    typer.Option("--metadata", help="camera=north, frame:int=13; may be repeated."),
]


def check_one_way(ids: list[str] | None, is_selected: bool, everything: bool) -> None:
    """Raise ``ValueError`` unless a command has ids, or options that select, or ``--all``."""
    if sum(map(bool, (ids, is_selected, everything))) != 1:
        raise ValueError("Say which: ids, or options that select some, or --all.")


def confirm(question: str) -> None:
    """Ask on the terminal, and end the command if the answer is no."""
    if not sys.stdin.isatty():
        raise ValueError("Nobody is here to ask: say --yes, or --dry-run.")
    typer.confirm(question, abort=True, err=True)
