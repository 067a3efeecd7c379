"""Read settings from environment variables, and reject malformed ones.

A malformed value ends the process with one line that names the variable. A store that starts
with another setting than it was given is worse than one that does not start.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class Malformed(SystemExit):
    """Ends the process with exit status 1 and one line on standard error."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")


# Of a file that holds a value: a secret or a URL is short, and /dev/zero never ends.
LONGEST_FILE = 64 * 1024


def text(name: str, default: str = "") -> str:
    """Return the variable without surrounding blanks, or the default if it is empty.

    ``<NAME>_FILE`` may name a file that holds the value, as containers mount secrets. Raises
    ``Malformed`` if that cannot be read, or if both are given.
    """
    given = os.environ.get(name, "").strip()
    path = os.environ.get(f"{name}_FILE", "").strip()
    if not path:
        return given or default
    if given:
        raise Malformed(f"{name}_FILE", f"{name} is given, too: one of both is enough.")
    return _content(f"{name}_FILE", Path(path)) or default


def _content(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
        value = content.decode().strip()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Malformed(name, f"{path}: {why}.") from None
    except UnicodeDecodeError:
        raise Malformed(name, f"{path} is no text.") from None
    if len(content) > LONGEST_FILE or "\0" in value:
        raise Malformed(name, f"{path} holds no single value.")
    return value


def number(name: str, default: int, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return an integer between ``least`` and ``most``. Raises ``Malformed``."""
    given = text(name)
    if not given:
        return default
    if not re.fullmatch(r"-?[0-9]{1,19}", given):
        raise Malformed(name, f"{given!r} is not a whole number.")
    if not least <= int(given) <= most:
        raise Malformed(name, f"{given} is not between {least} and {most}.")
    return int(given)


def size(name: str, default: int) -> int:
    """Return a number of bytes; ``64M`` and ``2GiB`` are accepted. Raises ``Malformed``."""
    given = text(name)
    found = re.fullmatch(r"([0-9]{1,15})\s*([kmg]?)(?:i?b)?", given.lower())
    if not given:
        return default
    if not found:
        raise Malformed(name, f"{given!r} is not a number of bytes.")
    return int(found[1]) * UNITS[found[2]]


def flag(name: str, *, default: bool) -> bool:
    """Return a boolean: 1/true/yes/on or 0/false/no/off. Raises ``Malformed``."""
    given = text(name).lower()
    if not given:
        return default
    if given not in TRUE | FALSE:
        raise Malformed(name, f"{given!r} is neither true nor false.")
    return given in TRUE


def listed(name: str, default: str = "") -> list[str]:
    """Return the parts of a comma-separated list, trimmed, without empty ones."""
    parts = (part.strip() for part in text(name, default).split(","))
    return [part for part in parts if part]


def key_prefix(name: str) -> str:
    """Return a prefix of storage keys without slashes at its ends. Raises ``Malformed``."""
    parts = [part for part in text(name).split("/") if part]
    for part in parts:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", part) or not part.strip("."):
            raise Malformed(name, f"{part!r} is not letters, digits, '.', '_' and '-'.")
    return "/".join(parts)


def file(name: str) -> str | None:
    """Return the path of a file that can be read, or None. Raises ``Malformed``."""
    given = text(name)
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise Malformed(name, f"{path} is no file that can be read.")
    return str(path)


def endpoint(name: str) -> str | None:
    """Return the URL of a server over HTTP, or None. Raises ``Malformed``."""
    given = text(name)
    if not given:
        return None
    try:
        parts = urlsplit(given)
        is_url = (
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        )
    except ValueError:
        is_url = False
    if not is_url:  # it may hold a password, so it is not repeated
        raise Malformed(name, "is no URL such as https://objects.example.org.")
    return given


def with_password(url: str, password: str) -> str:
    """Return the URL of a server with this password in place of its own."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    return urlunsplit(
        parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}")
    )


def networks(name: str, default: str = "") -> list[str]:
    """Return a list of addresses and networks. Raises ``Malformed``."""
    entries = listed(name, default)
    for entry in entries:
        try:
            ip_network(entry, strict=False)
        except ValueError:
            message = f"{entry!r} is neither an address nor a network."
            raise Malformed(name, message) from None
    return entries


def is_this_machine(address: str) -> bool:
    """Return whether a URL or a host names the loopback interface."""
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """Return the variable if it is one of the choices. Raises ``Malformed``."""
    given = text(name, default)
    if given not in choices:
        raise Malformed(
            name, f"{given!r} is not one of {', '.join(filter(None, choices))}."
        )
    return given
