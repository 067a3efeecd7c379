"""What a storage raises that is away, full, or damaged, for work that goes on beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

STORAGE_FAILURES = (OSError, BotoCoreError, Boto3Error, ClientError)

logger = logging.getLogger(__name__)


@contextmanager
def logging_failures(what: str) -> Iterator[None]:
    """Log that something waits because a storage failed, and go on behind the block."""
    try:
        yield
    except STORAGE_FAILURES as failure:
        logger.error("%s: to be tried again: %s", what, failure)
