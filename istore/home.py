"""``$ISTORE_HOME``: the directory of everything that one installation stores.

It holds ``postgres/ redis/ run/ blobs/ spool/ static/ secrets/``, readable by its owner only.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from istore import env
from istore.service_user import ServiceUser

# A socket's path may have 107 bytes; the servers add their file's name to the directory.
LONGEST_RUN_DIRECTORY = 90


class Home:
    """The home directory of one installation."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def from_environment(cls) -> Home:
        """Return the home that ``ISTORE_HOME`` names. Raises ``Malformed`` for a relative path."""
        default = Path.home() / ".local" / "share" / "istore"
        root = Path(env.text("ISTORE_HOME", str(default))).expanduser()
        if not root.is_absolute():
            raise env.Malformed(
                "ISTORE_HOME", f"{str(root)!r} is not an absolute path."
            )
        return cls(root)

    def directory(self, name: str) -> Path:
        """Return a directory of the home; it is made at first use."""
        path = self.root / name
        with _usable(path):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
        return path

    @cached_property
    def run(self) -> Path:
        """The directory of sockets and locks.

        It is outside of the home if the home's path is too long for a socket.
        """
        path = self.root / "run"
        if len(os.fsencode(path)) <= LONGEST_RUN_DIRECTORY:
            return path
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        base = os.environ.get("XDG_RUNTIME_DIR")
        path = Path(base) / f"istore-{name}" if base else path
        if len(os.fsencode(path)) > LONGEST_RUN_DIRECTORY:
            path = Path("/tmp") / f"istore-{os.getuid()}-{name}"
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        # Root gives the directory to the user that the embedded servers run as.
        owners = {os.getuid(), ServiceUser.for_home(self.root).uid}
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid in owners
        if not ours or stat.S_IMODE(found.st_mode) & 0o077:
            raise env.Malformed("ISTORE_HOME", f"{path} is not this user's alone.")
        return path

    def secret(self, name: str) -> str:
        """Return a random secret of this installation; it is made at first use."""
        path = self.directory("secrets") / name
        with _usable(path):
            if not path.exists():
                _write_secret(path)
            value = path.read_text().strip()
        if not value:
            raise env.Malformed(
                "ISTORE_HOME", f"{path} is empty: remove it or fill it."
            )
        return value


def _write_secret(path: Path) -> None:
    # ``link`` is atomic and fails if the name exists: of two first starts, one wins.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with open(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """End the process with one line if the home cannot be read or written."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise env.Malformed("ISTORE_HOME", f"{path}: {why}.") from None
