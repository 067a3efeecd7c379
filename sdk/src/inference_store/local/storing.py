"""Where the local platform keeps things: a directory that several processes may share.

Nothing is changed once it is written: a session is a file, its tokens and its end are
further files beside it. So no process has to wait for another, and a reader sees all of
a file or none of it.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

IDENTITY = re.compile(r"[0-9a-f]{32}")


class Directory:
    """Files by the id of what they tell of."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, identity: str, name: str, content: str) -> bool:
        """Writes a file that is not there yet; False when it is."""
        folder = self.root / identity
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{name}.{secrets.token_hex(8)}"
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(partial, folder / name)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def read(self, identity: str, name: str) -> str | None:
        """What a file says; None when there is none, or the id is none of ours."""
        if not IDENTITY.fullmatch(identity):
            return None
        try:
            return (self.root / identity / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def identities(self) -> Iterator[str]:
        """The ids of all that is kept, in order of the id."""
        names = sorted(os.listdir(self.root)) if self.root.exists() else []
        return (name for name in names if IDENTITY.fullmatch(name))
