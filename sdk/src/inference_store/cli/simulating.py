"""``istore mock``: start services on the store that simulate models, call and stop them."""

from __future__ import annotations

import base64
import getpass
import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, app
from inference_store.models.enums import Word
from inference_store.schema import InferenceSessionCreateRequest

mock = typer.Typer(help="Services that simulate models.", no_args_is_help=True)
app.add_typer(mock, name="mock")

Session = Annotated[str, typer.Argument(metavar="SESSION", help="The id of a session.")]


@mock.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the mocks, and what each takes."""
    from inference_store import mocks  # here, so that other commands start faster

    columns = ("name", "title", "takes", "endpoint")
    rows = [
        (m.name, m.title, m.takes, m.interface.endpoint)
        for m in mocks.registry.values()
    ]
    if not as_json:
        output.show_rows(columns, rows)
        return
    for row in rows:
        output.show_json(dict(zip(columns, row, strict=True)))


@mock.command()
def start(
    name: Annotated[str, typer.Argument(metavar="MOCK", help="See: istore mock list.")],
    account: Annotated[
        str | None, typer.Option(help="The account; your user name when not given.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model under which calls are stored.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same answers.")
    ] = 0,
    latency: Annotated[float, typer.Option(help="Seconds that an answer takes.")] = 0.0,
    jitter: Annotated[
        float, typer.Option(help="The largest number of seconds added at random.")
    ] = 0.0,
    error_rate: Annotated[
        float, typer.Option(help="The fraction of calls that fail.")
    ] = 0,
    protocol: Annotated[
        str | None, typer.Option(help="openai: answer as OpenAI-compatible servers do.")
    ] = None,
    replicas: Annotated[int, typer.Option()] = 1,
    hours: Annotated[
        float | None, typer.Option(help="Hours until the session ends.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a session of a mock, and print its id and token. The token is shown only once."""
    account = account or getpass.getuser()
    options: dict[str, Any] = {
        "seed": seed,
        "latency": latency,
        "jitter": jitter,
        "error_rate": error_rate,
    }
    ends = datetime.now(timezone.utc) + timedelta(hours=hours) if hours else None
    with client() as store:
        service = store.inferenceservices.create_mock(
            name,
            account,
            model_id=model,
            protocol=protocol,
            **{key: value for key, value in options.items() if value},
        )
        created = store.inferencesessions.create(
            InferenceSessionCreateRequest(
                account=account,
                inferenceService=service.id,
                replicas=replicas,
                expires=ends,
            )
        )
    session = created.inferencesession
    if as_json:
        output.show_json(created)
        return
    rows = [
        ("session", session.id),
        ("token", created.token),
        ("endpoint", service.interface.endpoint),
        ("status", _word(session.status)),
        ("expires", f"{session.expires:%Y-%m-%d %H:%M} UTC" if session.expires else ""),
    ]
    output.show_rows(("", ""), rows)


@mock.command()
def call(
    session_id: Session,
    request: Annotated[
        str | None,
        typer.Argument(metavar="[REQUEST]", help="JSON; from a pipe when not given."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="A text instead of JSON.")] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help="A picture instead of JSON.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="A token of the session; a new one when not given."),
    ] = None,
) -> None:
    """Call a session and print the items of its answer, JSON, one a line."""
    body = _request(request, text, image)
    with client() as store:
        session = store.inferencesessions.get(session_id)
        shown = token or store.inferencesessions.token(session_id)
        session_client = store.inferencesessions.client(
            session_id, shown, interface=session.inferenceService.interface
        )
        for item in session_client.infer(body):
            output.show_json(item)


@mock.command()
def stop(session_id: Session, as_json: AsJson = False) -> None:
    """Terminate a session permanently."""
    with client() as store:
        session = store.inferencesessions.terminate(session_id)
    if as_json:
        output.show_json(session)
    else:
        print(f"{session.id}: {_word(session.status)}. {session.reason or ''}".rstrip())


def _request(request: str | None, text: str | None, image: Path | None) -> Any:
    if sum(value is not None for value in (request, text, image)) > 1:
        raise ValueError("Give JSON, or --text, or --image.")
    if text is not None:
        return {"text": text}
    if image is not None:
        return {"image": base64.b64encode(image.read_bytes()).decode()}
    if request is None and sys.stdin.isatty():
        raise ValueError("Give a request: JSON, --text, or --image.")
    try:
        return json.loads(sys.stdin.read() if request is None else request)
    except ValueError as error:
        raise ValueError(f"The request is not JSON: {error}") from None


def _word(status: Any) -> str:
    return status.value if isinstance(status, Word) else str(status)
