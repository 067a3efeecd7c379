"""The secrets of a home that a backup holds: keys of sessions and links, and the like.

Passwords of the embedded database are left out: they belong to the server of one home, and a
restored home has its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from istore.blobs.durable_files import sync_directory
from istore.home import Home

OF_THE_SERVER = {"pg_password", "pg_app_password"}


def read_secrets(home: Home) -> dict[str, str]:
    """Return the secrets of a home that a backup holds, by name; none where all are given."""
    files = sorted(home.directory("secrets").iterdir())
    return {
        path.name: path.read_text()
        for path in files
        if path.is_file() and path.name not in OF_THE_SERVER and path.name[0] != "."
    }


def read(home: Home) -> bytes:
    """Return the secrets of a home, by name, as JSON."""
    return json.dumps(read_secrets(home), indent=1).encode()


def write(home: Home, content: bytes) -> list[str]:
    """Write the secrets into a home, readable by its owner alone; return their names."""
    directory = home.directory("secrets")
    found: dict[str, str] = json.loads(content)
    for name, value in found.items():
        if Path(name).name != name or name in OF_THE_SERVER:
            continue  # it would lead out of the directory, or lock the server out
        fresh = directory / f".{name}.restored"
        descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with open(descriptor, "w") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(directory / name)
    sync_directory(directory)
    return sorted(found)
