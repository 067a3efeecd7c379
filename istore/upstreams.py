"""Which servers the proxy may speak to: a registered URL is a request from outside.

Addresses that are not of the public internet are refused unless ``ISTORE_UPSTREAM_ALLOW``
lists them, as ``host``, ``host:port``, ``address``, ``address:port`` or a network. A name
is judged by the address that is connected to, at the moment of connecting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

PORTS = {"http": 80, "https": 443}
NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
# Global by their numbers, yet a way into what is not: translations, tunnels, old forms.
DISGUISES = [
    ip_network(network)
    for network in (
        "192.88.99.0/24",  # relays of 6to4
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local
    )
]


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of the list: a network or a host, at one port or at any."""

    network: IPv4Network | IPv6Network | None
    host: str
    port: int | None

    @classmethod
    def read(cls, entry: str) -> Allowed:
        if network := _network(entry):
            return cls(network, "", None)
        host, colon, port = entry.rpartition(":")
        if not colon:
            host, port = entry, ""
        elif not port.isdecimal():
            raise ValueError(f"{entry!r} names no host, address or network.")
        host = host.strip("[]").lower()
        return cls(_network(host), host, int(port) if port else None)

    def covers(
        self, address: IPv4Address | IPv6Address, host: str, port: int | None
    ) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        return self.host == host.lower()


def check_upstream_url(url: str) -> None:
    """Raises ValueError, with a sentence for its author, unless the proxy may use it.

    A host name passes: what it resolves to is checked when the proxy connects.
    """
    parts = _split(url)
    if parts.scheme not in PORTS:
        raise ValueError("An upstream URL begins with http:// or https://.")
    if "@" in parts.netloc:
        raise ValueError("An upstream URL holds no user name and no password.")
    if "?" in url or "#" in url:
        raise ValueError("An upstream URL has neither a query nor a fragment.")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        raise ValueError("The path of an upstream URL has no '.' and no '..'.")
    host, port = parts.hostname, parts.port or PORTS[parts.scheme]
    if not host:
        raise ValueError("An upstream URL names a host.")
    if (is_literal(host) or _is_this_machine(host)) and not allowed_address(
        host if is_literal(host) else "127.0.0.1", host, port
    ):
        raise ValueError("The address of the upstream URL is not an allowed one.")


def allowed_address(ip: str, host: str = "", port: int | None = None) -> bool:
    """Whether to connect to the address, which ``host`` is, or resolved to."""
    address = ip_address(ip)
    if is_public(address):
        return True
    entries = map(Allowed.read, settings.ISTORE_UPSTREAM_ALLOW)
    return any(entry.covers(address, host, port) for entry in entries)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in DISGUISES)


def is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _split(url: str) -> SplitResult:
    if NOT_IN_A_URL.search(url):
        raise ValueError("An upstream URL holds no blanks, controls or backslashes.")
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"The upstream URL cannot be read: {error}.") from None
    return parts


def _is_this_machine(host: str) -> bool:
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
