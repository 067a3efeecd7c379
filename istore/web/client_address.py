"""Which address a call comes from, and which forwarding headers are believed.

``X-Forwarded-For``, ``-Proto`` and ``-Host`` are written by whoever sends them. They are
believed only on a connection from a proxy that ``ISTORE_TRUSTED_PROXIES`` names; from
anybody else they are dropped before anything reads them.
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
# One household or machine has a whole /64, and could use another address for each call.
IPV6_PREFIX = 64
TRUSTED = "istore.from_trusted_proxy"  # no header of a request can have this name


@lru_cache(maxsize=8)
def read_networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """Raises ValueError for what is neither an address nor a network."""
    return tuple(ip_network(entry, strict=False) for entry in entries)


def is_trusted(address: str) -> bool:
    """Whether a connection from this address comes from one of our own proxies."""
    try:
        found = _plain(address)
    except ValueError:
        return False
    trusted = read_networks(tuple(settings.ISTORE_TRUSTED_PROXIES))
    return any(found in network for network in trusted)


def client_address(peer: str, forwarded_for: Iterable[str] = ()) -> str:
    """The address of the client: the peer, or whom trusted proxies say they stand for.

    ``forwarded_for`` are the values of ``X-Forwarded-For``. They are read from the right,
    where our own proxies wrote; what stands left of the first untrusted address is hearsay.
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
    """What limits count an address by: an IPv6 client by its network."""
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
    """Middleware: ``REMOTE_ADDR`` is the client, and no stranger's header is believed."""

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
    return bool(request.META.get(TRUSTED))


def _plain(address: str) -> object:
    found = ip_address(address)
    return getattr(found, "ipv4_mapped", None) or found


def _without_port(hop: str) -> str:
    """Some proxies write ``192.0.2.1:4711`` or ``[2001:db8::1]:4711``."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
