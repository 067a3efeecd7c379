"""Databases of the Redis that the tests use: the embedded Valkey, or an external Redis.

A Redis has sixteen. The store's own is the first; a test that empties one takes another.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings


def database_url(number: int, worker_id: str = "master") -> str:
    """Return the URL of a database; with workers of pytest-xdist, each has one from ``number`` on."""
    if worker_id != "master":
        number += int(worker_id.removeprefix("gw"))
    return with_database(settings.ISTORE_REDIS_URL, number)


def with_database(url: str, number: int) -> str:
    """Return the URL with another database. A socket has it in the query, a host in the path."""
    address, _, query = url.partition("?")
    options = {**dict(parse_qsl(query)), "db": str(number)}
    if not address.startswith("unix://"):
        del options["db"]  # it would count more than the path
        address = urlsplit(address)._replace(path=f"/{number}").geturl()
    return "?".join(filter(None, [address, urlencode(options)]))
