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
    if not settings.ISTORE_PROCESSES_FILE:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return False
    return Replica.objects.filter(port=port).exists()
