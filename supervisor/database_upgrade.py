"""Move the embedded database to the PostgreSQL of this release, by ``pg_upgrade``.

The old directory is only read, and every step can be repeated after a kill: a new directory is
filled as ``postgres.upgrading``, gets the name ``postgres.upgraded`` when it is complete, and then
takes the place of the old one, which stays as ``postgres.<version>``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from istore.errors import Conflict, StoreError, Unavailable
from istore.failpoints import failpoint
from istore.home import Home
from istore.service_user import ServiceUser
from supervisor import embedded
from supervisor.embedded import OWNER, POSTGRES_MAJOR, PROGRAMS, Postgres
from supervisor.home_lock import AlreadyRunning, alone

Announce = Callable[[str], None]
# pg_upgrade restores the schema in one transaction, which locks every partition.
LOCKS = "-c max_locks_per_transaction=8192"
# What a new directory holds beside the copy: its catalogues and its first write-ahead log.
ROOM = 200 * 1024**2
MESSAGE_WORDS = 80
CLEAN = {"shut down", "shut down in recovery"}


@dataclass(frozen=True)
class Upgrade:
    """What was done: both versions, and where the old directory stands."""

    before: str
    after: str
    kept: Path


def upgrade_home(
    home: Home, announce: Announce, *, clone: bool = False, careless: bool = False
) -> Upgrade | None:
    """Upgrade the database of a home; return None if it has the version of this release.

    With ``clone`` both directories share their blocks, on file systems that can. Raises
    ``StoreError``; the old directory is then in its place and unchanged.
    """
    user = ServiceUser.for_home(home.root)
    embedded.make_run_directory(home, user)
    try:
        with alone(home) as lock:
            return _upgrade(Postgres(home, user, careless), announce, clone, lock)
    except AlreadyRunning as error:
        raise Conflict("already-running", str(error)) from None
    except embedded.Unusable as error:
        raise Unavailable("dependency-unavailable", str(error)) from None


def _upgrade(
    database: Postgres, announce: Announce, clone: bool, lock: int
) -> Upgrade | None:
    before = database.version_on_disk()
    if before == POSTGRES_MAJOR:
        return None
    if before is None and database.upgraded.exists():
        announce("an interrupted upgrade is finished")
        return _replace(database)
    if before is None:
        raise Conflict("no-database", f"{database.directory} is no database directory.")
    if before not in PROGRAMS or int(before) > int(POSTGRES_MAJOR):
        raise Conflict(
            "unknown-version",
            f"{database.directory} was made by PostgreSQL {before}: this release upgrades from "
            f"{', '.join(version for version in PROGRAMS if version != POSTGRES_MAJOR)}.",
        )
    old = replace(database, major=before)
    new = replace(database, folder="postgres.upgrading")
    if not clone:
        _check_room(old)
    # A complete copy from before may be older than what its old directory holds by now.
    shutil.rmtree(database.upgraded, ignore_errors=True)
    if not _is_clean(old):
        announce(f"PostgreSQL {before} ends its last run")
        with embedded.serving(old.home, (old,), (lock,)):
            pass
    announce(f"from PostgreSQL {before} to {POSTGRES_MAJOR}: a new directory is filled")
    checksums = () if _has_checksums(old) else ("--no-data-checksums",)
    new.initdb(new.directory, *checksums)
    _pg_upgrade(old, new, clone)
    failpoint("upgrade.filled")
    announce("statistics and extensions are brought up to date")
    with embedded.serving(new.home, (new,), (lock,)):
        _finish(new)
    new.directory.rename(database.upgraded)
    return _replace(database)


def _replace(database: Postgres) -> Upgrade:
    """Let the upgraded directory take the place of the old one."""
    before = database.version_on_disk()
    if before is not None:
        kept = database.directory.with_name(f"postgres.{before}")
        shutil.rmtree(kept, ignore_errors=True)
        database.directory.rename(kept)
        failpoint("upgrade.moved")
    else:
        before, kept = _last_kept(database)
    database.upgraded.rename(database.directory)
    return Upgrade(before, POSTGRES_MAJOR, kept)


def _last_kept(database: Postgres) -> tuple[str, Path]:
    names = (f"postgres.{version}" for version in PROGRAMS)
    kept = [
        path
        for path in map(database.directory.with_name, names)
        if (path / "PG_VERSION").exists()
    ]
    newest = max(kept, key=lambda path: path.stat().st_mtime)
    return newest.suffix[1:], newest


def _check_room(old: Postgres) -> None:
    files = (path for path in old.directory.rglob("*") if path.is_file())
    needed = sum(path.stat().st_size for path in files) + ROOM
    free = shutil.disk_usage(old.home.root).free
    if free < needed:
        raise Conflict(
            "disk-full",
            f"The copy needs {needed:,} bytes beside {old.directory}, and {free:,} are free.",
        )


def _control(database: Postgres, field: str) -> str:
    """Return a field of the control file, such as ``Database cluster state``."""
    done = _run(database, "pg_controldata", "-D", database.directory)
    lines = (line.partition(":") for line in done.stdout.splitlines())
    return next(value.strip() for name, _, value in lines if name == field)


def _is_clean(database: Postgres) -> bool:
    return _control(database, "Database cluster state") in CLEAN


def _has_checksums(database: Postgres) -> bool:
    return _control(database, "Data page checksum version") != "0"


def _pg_upgrade(old: Postgres, new: Postgres, clone: bool) -> None:
    _run(
        new,
        "pg_upgrade",
        *("--old-bindir", old.programs, "--new-bindir", new.programs),
        *("--old-datadir", old.directory, "--new-datadir", new.directory),
        *("--username", OWNER, "--socketdir", new.home.run),
        *("--old-options", LOCKS, "--new-options", LOCKS),
        *("--jobs", str(os.cpu_count() or 1), "--clone" if clone else "--copy"),
        *(["--no-sync"] if new.careless else []),
    )
    # A script that would remove the old directory. Nobody is asked to run it.
    (new.directory / "delete_old_cluster.sh").unlink(missing_ok=True)


def _finish(new: Postgres) -> None:
    """Update extensions, and analyse what the copied statistics do not cover."""
    with closing(new.connect("istore")) as connection:
        connection.execute("ALTER EXTENSION vector UPDATE")
    _run(
        new,
        "vacuumdb",
        *("--host", new.home.run, "--username", OWNER, "--all"),
        *("--analyze-only", "--missing-stats-only", "--quiet"),
    )


def _run(
    database: Postgres, program: str, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Run a program of this version as the servers' user. Raises ``StoreError`` if it fails."""
    done = subprocess.run(
        [database.programs / program, *arguments],
        # pg_upgrade leaves a script in its working directory, which must be its user's.
        cwd=database.directory,
        env=embedded.ENVIRONMENT | {"PGPASSWORD": database.password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=database.becoming(),
    )
    if done.returncode != 0:
        message = " ".join(f"{done.stdout} {done.stderr}".split()[-MESSAGE_WORDS:])
        raise StoreError("upgrade-failed", f"{program} failed: {message}")
    return done
