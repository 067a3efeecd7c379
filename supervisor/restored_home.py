"""Restore a backup into a home: the order of steps around the servers of that home.

The home is locked as by a running store. Its embedded servers run for as long as the database is
loaded and verified; an external database must be empty, and stays where it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection

from istore.backup import erasure_lists, restoring
from istore.backup.restoring import Restore
from istore.checks import verification
from istore.db import clock
from istore.errors import Conflict, Unavailable
from istore.failpoints import failpoint
from istore.service_user import ServiceUser
from supervisor import embedded, external
from supervisor.embedded import Postgres, Valkey
from supervisor.home_lock import AlreadyRunning, alone

Announce = Callable[[str], None]


def restore_home(
    restore: Restore,
    announce: Announce,
    *,
    replace: bool = False,
    erasures: Sequence[dict[str, str]] = (),
    verify: bool = True,
) -> bool:
    """Restore the home, or go on with a restore that was interrupted; return whether all is well.

    Raises ``StoreError`` before anything is changed if the backup cannot be restored here.
    """
    restoring.check_schema(restore.manifest)
    with _locked(restore) as lock:
        if not (replace or restore.is_begun()):
            restore.check_home()
        restore.begin()
        failpoint("restore.begun")
        names = restore.write_secrets()
        announce(f"secrets restored: {', '.join(names) or 'the backup holds none'}")
        restore.put_blobs()
        if not external.database_is_given():
            # Whatever an interrupted restore has loaded, or what is to be replaced.
            for name in ("postgres", "postgres.upgraded"):
                shutil.rmtree(restore.home.root / name, ignore_errors=True)
        failpoint("restore.blobs_put_all")
        with _servers(restore, lock):
            restore.load_database()
            for sentence in restoring.erase_again(list(erasures)) if erasures else ():
                announce(sentence)
            restore.finish()
            is_clean = _verify(announce) if verify else True
            connection.close()
    return is_clean and not restore.problems


def unlisted_proofs(
    restore: Restore,
    proofs: Sequence[dict[str, Any]],
    erasures: Sequence[dict[str, str]],
) -> list[str]:
    """Return the ids of erasures newer than the backup that no erasure of the list is."""
    return list(erasure_lists.not_listed(proofs, erasures, restore.snapshot_at))


@contextmanager
def _locked(restore: Restore) -> Iterator[int]:
    restore.home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with alone(restore.home) as lock:
            yield lock
    except AlreadyRunning as error:
        raise Conflict("already-running", str(error)) from None


@contextmanager
def _servers(restore: Restore, lock: int) -> Iterator[None]:
    """Run those servers of the home for which the settings name no external one."""
    home, user = restore.home, ServiceUser.for_home(restore.home.root)
    database, broker = Postgres(home, user), Valkey(home, user)
    embedded.make_run_directory(home, user)
    has_database, has_broker = external.database_is_given(), external.redis_is_given()
    own: list[embedded.Server] = [] if has_database else [database]
    if not has_broker:
        own.append(broker)
    try:
        with embedded.serving(home, tuple(own), (lock,)):
            if not has_database:
                database.create_database()
            yield
    except embedded.Unusable as error:
        raise Unavailable("dependency-unavailable", str(error)) from None


def _verify(announce: Announce) -> bool:
    """Run all checks and hash every blob; return whether there was no finding."""
    report = verification.report(verification.Scope(clock.now(), deep=True))
    for finding in report.findings():
        announce(str(finding))
    for name, why in report.unfinished.items():
        announce(f"{name} is unfinished: {why}")
    announce(
        f"verified: {len(report.names)} checks, {sum(report.found.values())} findings, "
        f"{len(report.unfinished)} unfinished"
    )
    return report.exit_code == 0
