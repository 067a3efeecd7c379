"""Make the bucket of the blobs, for what runs before there is one."""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import storages

from istore.errors import BadInput, Unavailable

ATTEMPTS = 30


def make_bucket() -> None:
    """Create the bucket unless it is there. Raises ``StoreError``."""
    storage: Any = storages["default"]
    if not hasattr(storage, "make_bucket"):
        raise BadInput("make-bucket", "--make-bucket: ISTORE_S3_BUCKET is missing.")
    for attempt in range(ATTEMPTS):
        try:
            storage.make_bucket()
            return
        except (BotoCoreError, ClientError) as error:
            if attempt == ATTEMPTS - 1:
                why = " ".join(str(error).split())
                raise Unavailable("make-bucket", f"--make-bucket: {why}") from None
        time.sleep(1)  # object stores take seconds to start
