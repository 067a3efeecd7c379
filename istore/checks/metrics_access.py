"""Who may read ``/metrics``: it tells of all projects together, so no project's token opens it."""

from __future__ import annotations

from hmac import compare_digest
from ipaddress import ip_address

from django.conf import settings


def may_read_metrics(peer: str, authorization: bytes) -> bool:
    """Whoever shows ``ISTORE_METRICS_TOKEN``; and this machine, unless another server on it
    may be speaking for the whole world."""
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
