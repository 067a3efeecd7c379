"""Tell the damage of one blob from a storage that is away, or a machine that is full."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from istore import blobs
from istore.blobs.errors import BlobDamaged
from istore.blobs.storage_failures import STORAGE_FAILURES

# No blob ever has this key: asking for it only shows whether the storage answers.
ABSENT = "texts/absent"
OURS = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@contextmanager
def telling_damage(key: str) -> Iterator[None]:
    """Raise ``BlobDamaged`` for what keeps this one blob from being read, within the block.

    A blob that is not there stays a ``FileNotFoundError``. What the storage raises when it is away
    as a whole is raised as it is: it is back before long.
    """
    try:
        yield
    except (FileNotFoundError, BlobDamaged):
        raise
    except STORAGE_FAILURES as failure:
        if isinstance(failure, OSError) and failure.errno in OURS:
            raise
        blobs.exists(ABSENT)
        raise BlobDamaged(f"{key} cannot be read: {failure}") from failure
