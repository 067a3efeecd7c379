"""Settings from the environment, read once and loudly.

A value that cannot be read ends the process with one line that names the variable:
a store that starts with a setting other than the one it was given is worse than none.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class Malformed(SystemExit):
    """Ends the process with exit status 1 and one line on standard error."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def number(name: str, default: int, *, least: int = 0, most: int = 2**63 - 1) -> int:
    given = text(name)
    if not given:
        return default
    if not re.fullmatch(r"-?[0-9]{1,19}", given):
        raise Malformed(name, f"{given!r} is not a whole number.")
    if not least <= int(given) <= most:
        raise Malformed(name, f"{given} is not between {least} and {most}.")
    return int(given)


def size(name: str, default: int) -> int:
    """A number of bytes; ``64M`` and ``2GiB`` are read too."""
    given = text(name)
    found = re.fullmatch(r"([0-9]{1,15})\s*([kmg]?)(?:i?b)?", given.lower())
    if not given:
        return default
    if not found:
        raise Malformed(name, f"{given!r} is not a number of bytes.")
    return int(found[1]) * UNITS[found[2]]


def flag(name: str, *, default: bool) -> bool:
    given = text(name).lower()
    if not given:
        return default
    if given not in TRUE | FALSE:
        raise Malformed(name, f"{given!r} is neither true nor false.")
    return given in TRUE


def listed(name: str, default: str = "") -> list[str]:
    """The parts of a list separated by commas, blanks trimmed, empty ones left out."""
    parts = (part.strip() for part in text(name, default).split(","))
    return [part for part in parts if part]


def networks(name: str, default: str = "") -> list[str]:
    """A list of addresses and networks."""
    entries = listed(name, default)
    for entry in entries:
        try:
            ip_network(entry, strict=False)
        except ValueError:
            message = f"{entry!r} is neither an address nor a network."
            raise Malformed(name, message) from None
    return entries


def is_this_machine(address: str) -> bool:
    """Whether a URL or a host names the loopback interface."""
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    given = text(name, default)
    if given not in choices:
        raise Malformed(name, f"{given!r} is not one of {', '.join(choices)}.")
    return given
