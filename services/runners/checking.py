"""Validate that a described service could be run and called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from services.models import Runner
from services.runners.commands import BadCommands, listed
from services.runners.config_fields import BadConfiguration, check_names, text
from services.runners.mocks import Mock
from services.runners.servers import UrlServer

ENDPOINT = re.compile(
    r"(?!\.{1,2}(/|\Z))[\w.~-]+(/(?!\.{1,2}(/|\Z))[\w.~-]+)*", re.ASCII
)
ENDPOINT_CHARS = 255


def check_configuration(runner: str, configuration: Mapping[str, Any]) -> None:
    """Raise BadConfiguration, which names the member that is not valid."""
    if runner == Runner.MOCK:
        Mock.read(configuration)
    elif runner == Runner.URL:
        UrlServer.read(configuration)
    else:
        check_names(configuration, ("process",))
        name = text(configuration, "process")
        if name not in command_names():
            raise BadConfiguration(
                "process", "This installation lists no such command."
            )


def command_names() -> list[str]:
    """Return the names of the operator's commands; none if the file cannot be read."""
    try:
        return sorted(listed())
    except BadCommands:
        return []


def is_endpoint(name: str) -> bool:
    """Return whether it can be a path below ``infer/``: segments of letters, digits, ``._~-``."""
    return len(name) <= ENDPOINT_CHARS and bool(ENDPOINT.fullmatch(name))
