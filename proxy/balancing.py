"""Load balancing over several equivalent servers of a session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from proxy.targets import Target


class Balance:
    """Least calls in flight first; among equals, round robin."""

    def __init__(self) -> None:
        self._in_flight: Counter[str] = Counter()
        self._turn = 0

    def in_order(self, servers: Sequence[Target]) -> list[Target]:
        """Return all servers, in the order in which to try them."""
        self._turn += 1
        shift = self._turn % len(servers)
        turned = [*servers[shift:], *servers[:shift]]
        return sorted(turned, key=lambda each: self._in_flight[each.base_url])

    @contextmanager
    def counted(self, server: Target) -> Iterator[None]:
        """Count a call to the server as in flight for the duration of the block."""
        url = server.base_url
        self._in_flight[url] += 1
        try:
            yield
        finally:
            self._in_flight[url] -= 1
            if not self._in_flight[url]:
                del self._in_flight[url]
