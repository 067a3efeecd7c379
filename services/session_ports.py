"""Ports of this machine on which processes of sessions listen."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from istore.upstreams import PORTS
from services.models import Replica


def is_port_of_session(url: str) -> bool:
    """Return whether a process of any session listens on this machine at the URL's port.

    Only the port is compared. Whether the host is this machine is known when it is resolved,
    which the caller does.
    """
    if not settings.ISTORE_PROCESSES_FILE or (port := port_of(url)) is None:
        return False
    return Replica.objects.filter(port=port).exists()


def port_of(url: str) -> int | None:
    """Return the port of a URL, or None if it is no URL of a server."""
    try:
        parts = urlsplit(url)
        return parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
