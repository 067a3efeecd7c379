"""The user that the embedded servers run as: PostgreSQL refuses root, and so Valkey follows.

The servers of an ordinary user run as that user. Those of root run as the owner of the home
or as ``nobody``, who may be unable to reach the home or the virtual environment (a checkout
below ``/root`` is the common case). Only then the servers keep the one capability that lets
them through, so that no directory has to be opened to everyone.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from istore.lifeline import follow_parent, libc

KEEP_CAPABILITIES, SECURE_BITS, AMBIENT, RAISE = 8, 28, 47, 2
# Without it access(2), by which initdb looks for its programs, counts no capability.
NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
# Names as in capabilities(7). The first reads and enters everything, the second also
# writes and executes; containers usually grant the second alone.
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "kept")]


@dataclass(frozen=True)
class ServiceUser:
    """The user and group ids that the embedded servers run as."""

    uid: int
    gid: int

    @classmethod
    def for_home(cls, root: Path) -> ServiceUser:
        """Return the user who owns what the servers write, so that the choice stays the same."""
        if os.getuid() != 0:
            return cls(os.getuid(), os.getgid())
        for path in (root / "postgres", root):
            if path.exists() and path.stat().st_uid != 0:
                return cls(path.stat().st_uid, path.stat().st_gid)
        for name in ("nobody", "daemon"):
            try:
                found = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(found.pw_uid, found.pw_gid)
        return cls(65534, 65534)

    @property
    def is_someone_else(self) -> bool:
        """Whether this is another user than the one who runs this process."""
        return self.uid != os.getuid()

    def own(self, path: Path) -> None:
        """Give the file to this user, if it is another than the one who runs now."""
        if self.is_someone_else:
            os.chown(path, self.uid, self.gid)

    def may(self, wanted: int, path: Path) -> bool:
        """Return whether the file's mode grants ``wanted`` (the bits of "others") to this user."""
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return bool(found.st_mode >> shift & wanted)

    def reaches(self, path: Path) -> bool:
        """Return whether this user may enter every directory above the path."""
        spellings = {path.absolute(), path.resolve()}
        above = {parent for spelling in spellings for parent in spelling.parents}
        there = [directory for directory in above if directory.exists()]
        return all(self.may(stat.S_IXOTH, directory) for directory in there)

    def missing_capability(self, program: Path, paths: Iterable[Path]) -> int | None:
        """Return the capability that this user needs to run ``program`` on ``paths``, or None."""
        if not self.is_someone_else or sys.platform != "linux":
            return None
        if not self.may(stat.S_IXOTH, program):  # a virtual environment of umask 077
            return DAC_OVERRIDE
        if all(self.reaches(path) for path in (program, *paths)):
            return None
        return DAC_READ_SEARCH if _holds(DAC_READ_SEARCH) else DAC_OVERRIDE

    def becoming(
        self, program: Path, paths: Iterable[Path], *, end_by: signal.Signals
    ) -> Callable[[], None]:
        """Return what a child calls before exec, to run as this user and to end with its parent.

        ``subprocess`` could change the user itself, but would do so first, and after that no
        capability is left to keep. A change of user clears the parent-death signal, so that is set
        last.
        """
        capability = self.missing_capability(program, paths)
        header = _Header(CAPABILITY_VERSION_3, 0)
        kept = 0 if capability is None else 1 << capability
        sets = (_Sets * 2)(_Sets(kept, kept, kept), _Sets(0, 0, 0))

        def become() -> None:
            if self.is_someone_else:
                if kept:
                    libc.prctl(SECURE_BITS, NO_SETUID_FIXUP, 0, 0, 0)
                    _check(libc.prctl(KEEP_CAPABILITIES, 1, 0, 0, 0))
                os.setgroups([])
                os.setgid(self.gid)
                os.setuid(self.uid)
                if kept:
                    _check(libc.capset(ctypes.byref(header), ctypes.byref(sets)))
                    _check(libc.prctl(AMBIENT, RAISE, capability, 0, 0))
            follow_parent(end_by)

        return become


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _holds(capability: int) -> bool:
    header, sets = _Header(CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    libc.capget(ctypes.byref(header), ctypes.byref(sets))
    return bool(sets[0].permitted >> capability & 1)
