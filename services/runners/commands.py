"""The commands that an operator lists for this installation in ``ISTORE_PROCESSES_FILE``.

It is a TOML file with a table for each name that services may use:

    [wine]
    command = ["/srv/models/wine/serve", "--port", "{port}"]
    protocol = "v2"             # or "openai", or "json", which is the default
    model = "wine"              # its name there, for V2
    ready = "/health"           # answers 2xx when it can be called
    directory = "/srv/models/wine"
    environment = { OMP_NUM_THREADS = "1" }
    start_seconds = 300
    stop_seconds = 10

A request can only name a table. ``{port}`` is replaced by a port of the loopback interface,
which is also in the environment as ``PORT``. Nothing of the store's own environment is
passed on, because it holds secrets.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from django.conf import settings

from services.runners import config_fields
from services.runners.config_fields import BadConfiguration
from services.runners.servers import Dialect

PASSED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")
NAMES = (
    "command",
    "directory",
    "environment",
    "start_seconds",
    "stop_seconds",
    *Dialect.NAMES,
)
START_SECONDS, LONGEST_START = 300, 24 * 3600
STOP_SECONDS, LONGEST_STOP = 10, 600


class BadCommands(Exception):
    """The file is not valid; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Command:
    """One table of the file."""

    name: str
    command: tuple[str, ...]
    dialect: Dialect
    directory: str = "/"
    environment: tuple[tuple[str, str], ...] = ()
    start_seconds: float = START_SECONDS
    stop_seconds: float = STOP_SECONDS

    @classmethod
    def read(cls, name: str, given: Mapping[str, Any]) -> Self:
        config_fields.check_names(given, NAMES)
        command = given.get("command")
        if not _are_texts(command) or not command:
            raise BadConfiguration("command", "A list of texts, the program first.")
        environment = given.get("environment", {})
        if not isinstance(environment, dict) or not _are_texts([*environment.values()]):
            raise BadConfiguration("environment", "A table of texts.")
        return cls(
            name=name,
            command=tuple(command),
            dialect=Dialect.read(given),
            directory=config_fields.text(given, "directory", "/"),
            environment=tuple(environment.items()),
            start_seconds=config_fields.number(
                given, "start_seconds", START_SECONDS, 1, LONGEST_START
            ),
            stop_seconds=config_fields.number(
                given, "stop_seconds", STOP_SECONDS, 0, LONGEST_STOP
            ),
        )

    def argv(self, port: int) -> list[str]:
        return [part.replace("{port}", str(port)) for part in self.command]

    def env(self, port: int) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {**passed, **dict(self.environment), "PORT": str(port)}


def listed() -> dict[str, Command]:
    """Return the commands of the current file by name; none if no file is set.

    Raises BadCommands if the file is not valid.
    """
    path = settings.ISTORE_PROCESSES_FILE
    if path is None:
        return {}
    try:
        found = path.stat()
        return _read(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise BadCommands(f"{path}: {error.strerror}.") from None


@lru_cache(4)
def _read(path: Path, modified: int, size: int) -> dict[str, Command]:
    try:
        tables = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadCommands(f"{path}: {error}.") from None
    return {name: _command(path, name, table) for name, table in tables.items()}


def _command(path: Path, name: str, table: Any) -> Command:
    if not isinstance(table, dict):
        raise BadCommands(f"{path}: {name!r} is not a table.")
    try:
        return Command.read(name, table)
    except BadConfiguration as error:
        raise BadCommands(f"{path}: [{name}] {error.name}: {error}") from None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
