"""Map faults of the servers behind the store to errors of its own: 503, 507 and the like.

Database, broker, object store and disk raise their own exceptions. The caller learns the kind
of fault and when to retry. An exception that is not listed here stays a bare 500.
"""

from __future__ import annotations

import errno
import logging

from botocore.exceptions import BotoCoreError, ClientError
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, DataError, InterfaceError
from django.db.utils import InternalError, OperationalError
from django.http.request import UnreadablePostError
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from istore.api.request_body import INCOMPLETE, BrokenOff
from istore.db.statement_timeout import is_timeout
from istore.errors import (
    BadInput,
    StorageFull,
    StoreError,
    TooLarge,
    Unavailable,
    Unprocessable,
)

logger = logging.getLogger(__name__)

DISK_FULL = "53100"
READ_ONLY = "25006"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def as_store_error(error: BaseException | None) -> StoreError | None:
    """Return the error that an exception means to a caller, or None for a fault of our own."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, RequestDataTooBig):
        return TooLarge("body-too-large", "The body is too large.")
    if isinstance(error, UnreadablePostError | BrokenOff):
        return BadInput(INCOMPLETE, "The body broke off before its end.")
    if isinstance(error, DatabaseError | InterfaceError):
        return _of_database(error)
    if isinstance(error, BotoCoreError | ClientError | RedisError | BrokerError):
        return _unavailable(error)
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return _full(error) if error.errno in NO_ROOM else _unavailable(error)
    return None


def _of_database(error: DatabaseError | InterfaceError) -> StoreError | None:
    if is_timeout(error):
        message = "The question takes too long. Narrow it, by time for example."
        return Unprocessable("query-too-expensive", message)
    state = getattr(error.__cause__, "sqlstate", None)
    if state == DISK_FULL:
        return _full(error)
    if isinstance(error, DataError):
        logger.warning("A value that was not checked reached the database: %s", error)
        return BadInput("validation-error", "A value is out of range.")
    is_fault = isinstance(error, OperationalError | InterfaceError)
    if is_fault or (isinstance(error, InternalError) and state == READ_ONLY):
        return _unavailable(error)
    return None


def _full(error: Exception) -> StoreError:
    logger.error("There is no room: %s", error)
    message = "The store has no room for this. Its operator has to make some."
    return StorageFull("storage-full", message)


def _unavailable(error: Exception) -> StoreError:
    logger.error("A server behind this one fails: %s", error)
    message = "A server behind this one does not answer. Try again soon."
    return Unavailable("dependency-unavailable", message, retry_after=2)
