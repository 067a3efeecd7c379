"""Give a forked child connections of its own.

The fork server of ``up`` has no connections, but the parent of web processes, Celery's prefork
pool or a script that uses the models may. A forked child opens its own connections to the
database and the object store. Those of its parent stay open and referenced: closing them here would send a
goodbye that ends them for the parent. (The client of Valkey handles forks itself.)
"""

from __future__ import annotations

import os
import threading

from django.core.files.storage import storages
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from istore.blobs import request_counts
from istore.blobs.s3_storage import S3Storage
from istore.db.other_servers import DIRECT, REPLICA

_of_parents: list[object] = []


def begin_child() -> None:
    """Drop the parent's connections in a forked child, without closing them."""
    for connection in connections.all(initialized_only=True):
        _of_parents.append(connection.connection)
        connection.connection = None
        connection.in_atomic_block = False
        connection.savepoint_ids = []
        connection.run_on_commit = []
        connection.needs_rollback = False
    # The threads of a pool do not exist in the child.
    # The pools and the storages are private, so they are not in the stubs.
    pools = DatabaseWrapper._connection_pools  # type: ignore[attr-defined]
    _of_parents.append(dict(pools))
    _of_parents.extend((DIRECT.forget(), REPLICA.forget()))
    pools.clear()
    for storage in list(storages._storages.values()):  # type: ignore[attr-defined]
        if isinstance(storage, S3Storage):
            _of_parents.append((storage._connections, storage._bucket))
            storage._connections = threading.local()
            storage._bucket = None
            storage._asking, storage._signing = threading.Lock(), threading.Lock()
    request_counts.begin_child()


def watch() -> None:
    """Call ``begin_child`` after each fork of this process."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=begin_child)
