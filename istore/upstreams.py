"""Which servers the proxy may call: a registered URL is input from outside (SSRF).

Addresses that are not on the public internet are refused unless ``ISTORE_UPSTREAM_ALLOW``
lists them, as ``host``, ``host:port``, ``address``, ``address:port`` or a network. A host name
is judged by the address it resolves to, at the moment of connecting.

The servers of the store itself are never an upstream, even if they are listed, and however
they are spelled: such a URL would bypass tokens, roles and projects.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
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

# In the order of their ports of metrics, from ISTORE_METRICS_PORT on.
OBSERVED = ("listener", "worker", "exporter", "beat")
PORTS = {"http": 80, "https": 443}
NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
# Python calls these global, but they embed other addresses: translations, tunnels, old forms.
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
    """An entry of the allow list: a network or a host, at one port or at any."""

    network: IPv4Network | IPv6Network | None
    host: str
    port: int | None

    @classmethod
    def read(cls, entry: str) -> Allowed:
        """Return the entry that a text describes. Raises ``ValueError``."""
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
        """Return whether the entry allows this address, host and port."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        return self.host == host.lower()


def check_upstream_url(url: str) -> None:
    """Raise ``ValueError``, with a sentence for the URL's author, unless the URL is allowed.

    A host name passes here. The address it resolves to is checked when the proxy connects.
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
    address = _address_of(host)
    if is_own_server(address, host, port):
        raise ValueError("The upstream URL names a server of the store itself.")
    if address and not allowed_address(address, host, port):
        raise ValueError("The address of the upstream URL is not an allowed one.")


def allowed_address(ip: str, host: str = "", port: int | None = None) -> bool:
    """Return whether the proxy may connect to the address that ``host`` is or resolved to."""
    address = ip_address(ip)
    if is_own_server(ip, host, port):
        return False
    if is_public(address):
        return True
    entries = map(Allowed.read, settings.ISTORE_UPSTREAM_ALLOW)
    return any(entry.covers(address, host, port) for entry in entries)


def is_own_server(ip: str, host: str, port: int | None) -> bool:
    """Return whether a server of the store listens there, such as its database or broker."""
    if port is None:
        return False
    own = own_servers(
        settings.ISTORE_PORT,
        settings.ISTORE_PROXY_PORT,
        settings.ISTORE_URL,
        settings.ISTORE_PROXY_URL,
        settings.ISTORE_PROXY_INTERNAL_URL,
        settings.ISTORE_REDIS_URL,
        _object_store_urls(),
        str(settings.DATABASES["default"].get("HOST") or ""),
        int(settings.DATABASES["default"].get("PORT") or 0),
    )
    if (host.lower().rstrip("."), port) in own.named or (ip, port) in own.named:
        return True
    is_local_port = port in own.local_ports or port in metrics_ports().values()
    return is_local_port and bool(ip) and is_this_machine(ip)


def metrics_ports() -> dict[str, int]:
    """Return the ports at which processes without a server tell their metrics, by their names."""
    first = settings.ISTORE_METRICS_PORT
    return {name: first + n for n, name in enumerate(OBSERVED)} if first else {}


def _object_store_urls() -> tuple[str, ...]:
    """Return the URLs of the object store, and those that begin with the bucket's name."""
    options = settings.STORAGES["default"].get("OPTIONS", {})
    named = (options.get("endpoint_url"), options.get("public_endpoint_url"))
    urls = [str(each) for each in named if each]
    bucket = options.get("bucket_name")
    return (*urls, *(each.replace("://", f"://{bucket}.") for each in urls))


@dataclass(frozen=True, slots=True)
class OwnServers:
    """The store's servers: ``named`` by host and port, ``local_ports`` at any local address."""

    named: frozenset[tuple[str, int]]
    local_ports: frozenset[int]


@lru_cache(maxsize=4)
def own_servers(
    web: int,
    proxy: int,
    url: str,
    proxy_url: str,
    internal_url: str,
    redis_url: str,
    object_store_urls: tuple[str, ...],
    database_host: str,
    database_port: int,
) -> OwnServers:
    """Return the servers that these settings name; cached by their values."""
    named, ports = set(), {web, proxy}
    usual = {**PORTS, "redis": 6379, "rediss": 6379}
    inside = (internal_url, redis_url, *object_store_urls)
    for each in (url, proxy_url, *inside):
        parts = urlsplit(each)
        if parts.hostname:
            port = parts.port or usual.get(parts.scheme, 0)
            named.add((parts.hostname.lower(), port))
            if each in inside:
                ports |= {port} if _may_be_here(parts.hostname) else set()
    if database_host and not database_host.startswith("/"):  # a directory of sockets
        for host in database_host.split(","):
            named.add((host.strip().lower(), database_port or 5432))
        ports.add(database_port or 5432)
    return OwnServers(frozenset(named), frozenset(ports))


def _may_be_here(host: str) -> bool:
    address = _address_of(host)
    return bool(address) and is_this_machine(address)


def is_this_machine(ip: str) -> bool:
    """Return whether the address belongs to this machine.

    An address that can be bound is one of ours. This asks the kernel, so no list of interfaces
    has to be kept.
    """
    address = ip_address(ip)
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        return True
    with suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(
            str(address), 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
        with socket.socket(found[0][0], socket.SOCK_DGRAM) as probe:
            probe.bind(found[0][4])
            return True
    return False


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether the address is on the public internet, and not a disguise of another."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in DISGUISES)


def is_literal(host: str) -> bool:
    """Return whether the host is an IP address."""
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


def _address_of(host: str) -> str:
    """Return the address that the host spells, or "" for a name that must be resolved."""
    name = host.rstrip(".")
    if is_literal(name):
        return name
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return "127.0.0.1"
    with suppress(OSError, UnicodeError):  # 127.1, 0x7f000001, 2130706433
        return socket.inet_ntoa(socket.inet_aton(name))
    return ""


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
