"""The address of the client, and which forwarding headers are trusted.

Any client can send ``X-Forwarded-For``, ``-Proto`` and ``-Host``. They are trusted only on a
connection from a proxy that ``ISTORE_TRUSTED_PROXIES`` names. On any other connection they are
dropped before anything reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest, HttpResponse

Network = IPv4Network | IPv6Network

FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_SSL",
    "HTTP_X_REAL_IP",
)
# A household or machine has a whole /64, and could use another address for each call.
IPV6_PREFIX = 64
TRUSTED = "istore.from_trusted_proxy"  # in META; no request header can set this key


@lru_cache(maxsize=8)
def read_networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks of the entries. Raises ``ValueError``."""
    return tuple(ip_network(entry, strict=False) for entry in entries)


def is_trusted(address: str) -> bool:
    """Return whether a connection from this address comes from a trusted proxy."""
    return _is_within(address, tuple(settings.ISTORE_TRUSTED_PROXIES))


@lru_cache(maxsize=1024)  # of the last peers: each call asks
def _is_within(address: str, entries: tuple[str, ...]) -> bool:
    try:
        found = _plain(address)
    except ValueError:
        return False
    return any(found in network for network in read_networks(entries))


def client_address(peer: str, forwarded_for: Iterable[str] = ()) -> str:
    """Return the client's address: the peer, or the client that trusted proxies report.

    ``forwarded_for`` are the values of ``X-Forwarded-For``. They are read from the right, where
    our own proxies write. Entries left of the first untrusted address are not trusted.
    """
    found = peer
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    for hop in reversed(hops):
        if not is_trusted(found):
            break
        try:
            found = str(_plain(_without_port(hop)))
        except ValueError:
            break
    return found


def address_key(address: str) -> str:
    """Return the key by which limits count an address: for IPv6 its /64 network."""
    try:
        found = _plain(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(ip_network((found, IPV6_PREFIX), strict=False))
    return str(found)


def believing_trusted_proxies(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that sets ``REMOTE_ADDR`` to the client and drops untrusted headers."""

    def answer(request: HttpRequest) -> HttpResponse:
        meta = request.META
        peer = meta.get("REMOTE_ADDR", "")
        meta[TRUSTED] = is_trusted(peer)
        if meta[TRUSTED]:
            values: Sequence[str] = [meta.get("HTTP_X_FORWARDED_FOR", "")]
            meta["REMOTE_ADDR"] = client_address(peer, filter(None, values))
        else:
            for name in FORWARDED:
                meta.pop(name, None)
        return get_response(request)

    return answer


def came_from_trusted_proxy(request: HttpRequest) -> bool:
    """Return whether the request came over a trusted proxy."""
    return bool(request.META.get(TRUSTED))


def _plain(address: str) -> object:
    found = ip_address(address)
    return getattr(found, "ipv4_mapped", None) or found


def _without_port(hop: str) -> str:
    """Return the hop without a port, which some proxies add.

    They write ``192.0.2.1:4711`` or ``[2001:db8::1]:4711``.
    """
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
