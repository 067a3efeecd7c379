"""Tell the damage of one blob from a storage that is away, or a machine that is full."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from botocore.exceptions import ClientError

from istore import blobs
from istore.blobs.errors import BlobDamaged
from istore.blobs.storage_failures import STORAGE_FAILURES

# No blob ever has this key: asking for it only shows whether the storage answers.
ABSENT = "texts/absent"
THROTTLED = HTTPStatus.TOO_MANY_REQUESTS
OURS = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@contextmanager
def telling_damage(key: str) -> Iterator[None]:
    """Raise ``BlobDamaged`` for what keeps this one blob from being read, within the block.

    A blob that is not there stays a ``FileNotFoundError``. What the storage raises when it is away
    as a whole, or too busy for this read, is raised as it is: it is back before long.
    """
    try:
        yield
    except (FileNotFoundError, BlobDamaged):
        raise
    except STORAGE_FAILURES as failure:
        if _passes(failure):
            raise
        blobs.exists(ABSENT)
        raise BlobDamaged(f"{key} cannot be read: {failure}") from failure


def _passes(failure: Exception) -> bool:
    """Return whether a failure is no matter of this blob: a full machine, or a busy storage."""
    if isinstance(failure, OSError):
        return failure.errno in OURS
    if not isinstance(failure, ClientError):
        return False
    status: int = failure.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == THROTTLED
