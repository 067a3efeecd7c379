"""Who may read ``/metrics``.

The metrics cover all projects together, so a project's token does not open them.
"""

from __future__ import annotations

from hmac import compare_digest
from ipaddress import ip_address

from django.conf import settings


def may_read_metrics(peer: str, authorization: bytes) -> bool:
    """Return whether the caller may read metrics: it shows ``ISTORE_METRICS_TOKEN``, or is local.

    Local callers count only under ``ISTORE_IS_LOCAL``: otherwise a server in front of the store
    may forward calls of anybody from this machine.
    """
    scheme, _, secret = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return compare_digest(secret.strip(), settings.ISTORE_METRICS_TOKEN.encode())
    return settings.ISTORE_IS_LOCAL and _is_loopback(peer)


def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
