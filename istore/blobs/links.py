"""Links that open one blob for ``ISTORE_PRESIGN_SECONDS``, without a token."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.core import signing

from istore.blobs.keys import MemberKey
from istore.blobs.storage import storage

SALT = "istore.blobs"


def presigned_url(key: str) -> str:
    """Return a link that opens the blob without a token for ``ISTORE_PRESIGN_SECONDS``.

    The link to a member of a pack is our own on every storage, because a link of an object store
    would open the whole pack.
    """
    return signed_link(key) if MemberKey.parse(key) else storage.url(key)


def signed_link(key: str) -> str:
    """Return a link to the blob at our own ``/blobs``."""
    query = urlencode({"signature": _signer().sign_object(key)})
    return f"{settings.ISTORE_URL}/blobs?{query}"


def key_of_link(signature: str) -> str:
    """Return the key that a link names. Raises ``SignatureExpired`` or ``BadSignature``."""
    seconds = settings.ISTORE_PRESIGN_SECONDS
    key: str = _signer().unsign_object(signature, max_age=seconds)
    return key


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(key=settings.ISTORE_SIGNING_KEY, salt=SALT)
