"""The Typer application, and the arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Find, store and delete what models said.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="The id of a model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, an object per line.")]
InferenceId = Annotated[
    str, typer.Argument(metavar="INFERENCE", help="The id of an inference.")
]
