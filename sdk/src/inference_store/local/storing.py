"""The storage of the local platform: a directory that several processes may share.

Files are never changed after they are written: a session is a file, and its tokens and
its end are further files beside it. So no process needs a lock, and a reader sees either
a whole file or none.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

IDENTITY = re.compile(r"[0-9a-f]{32}")


class Directory:
    """Files in directories by the id of their service or session."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, identity: str, name: str, content: str) -> bool:
        """Write a file; return False, and change nothing, if it exists already."""
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
        """Return the text of a file; None if there is none, or if the id is not valid."""
        if not IDENTITY.fullmatch(identity):
            return None
        try:
            return (self.root / identity / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def identities(self) -> Iterator[str]:
        """Yield all ids in their order."""
        names = sorted(os.listdir(self.root)) if self.root.exists() else []
        return (name for name in names if IDENTITY.fullmatch(name))
