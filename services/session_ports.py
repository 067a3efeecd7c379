"""Ports of this machine on which processes of sessions answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from istore.upstreams import PORTS
from services.models import Replica


def is_port_of_session(url: str) -> bool:
    """Whether a process of some session listens at the URL's port of this machine.

    Where the URL leads is known only when its host is resolved; the caller compares.
    """
    if not settings.ISTORE_PROCESSES_FILE or (port := port_of(url)) is None:
        return False
    return Replica.objects.filter(port=port).exists()


def port_of(url: str) -> int | None:
    """The port that a URL leads to; None for what is no URL of a server."""
    try:
        parts = urlsplit(url)
        return parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
