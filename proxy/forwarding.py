"""To the model server and back, byte for byte.

One session for the process. A connection goes to exactly the address that was checked:
names are resolved once for each connection, and what is not allowed is not in the answer.
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from istore.upstreams import allowed_address
from proxy import limits
from proxy.answers import AGAIN_IN_A_SECOND, Refused
from proxy.paths import Call
from proxy.targets import Target

AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
# Shorter than any server's, so that none closes a connection just as we use it again.
KEPT_SECONDS = 2
LARGE = 2**20
HOSTS_AT_ONCE = 8
NOT_IMPLEMENTED = 501
BROKE_OFF = (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError)


class CheckedResolver(AbstractResolver):
    """Gives only those addresses of a name that may be connected to."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if allowed_address(each["host"], host, port)]
        if not allowed:
            raise OSError(None, "No address of the upstream is an allowed one.")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class Lane(asyncio.Semaphore):
    """The places of one server; who waits for one too long is sent away."""

    def __init__(self) -> None:
        super().__init__(limits.UPSTREAM_CONCURRENCY)

    async def __aenter__(self) -> None:
        if not self.locked():
            await self.acquire()
            return
        try:
            async with asyncio.timeout(limits.UPSTREAM_TOTAL_SECONDS):
                await self.acquire()
        except TimeoutError:
            raise Refused(503, "The upstream is busy.", AGAIN_IN_A_SECOND) from None


class Upstreams:
    """The servers models run on. Made within the running event loop."""

    def __init__(self) -> None:
        most = limits.UPSTREAM_CONCURRENCY
        self._lanes: dict[str, Lane] = {}
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(
                limit=most * HOSTS_AT_ONCE,
                limit_per_host=most,
                resolver=CheckedResolver(),
                keepalive_timeout=KEPT_SECONDS,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=AUTOMATIC,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=limits.UPSTREAM_CONNECT_SECONDS
            ),
            trust_env=False,
        )

    def lane(self, target: Target) -> Lane:
        """A place among the calls to one server. Raises ``Refused`` when it has none."""
        if target.problem:
            raise Refused(502, target.problem)
        lane = self._lanes.get(target.base_url)
        if lane is None:
            lane = self._lanes[target.base_url] = Lane()
        return lane

    @asynccontextmanager
    async def ask(
        self,
        target: Target,
        call: Call,
        query: str,
        headers: CIMultiDict[str],
        body: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The beginning of the answer; the rest is read in the block.

        Some servers know no versions: they say 501 and have done nothing. Which server
        answers for a model is our own record, so they are asked for the model as such.
        """
        for version in dict.fromkeys((call.version, None)):
            path = call.upstream_path(target.name, version) + query
            response = await self._request(target, call.method, path, headers, body)
            if version is None or response.status != NOT_IMPLEMENTED:
                break
            response.close()
        try:
            check_answer(response)
            yield response
        finally:
            # What was not read to its end takes the connection with it.
            response.release() if response.content.at_eof() else response.close()

    async def _request(
        self,
        target: Target,
        method: str,
        path: str,
        headers: CIMultiDict[str],
        body: bytes | None,
    ) -> aiohttp.ClientResponse:
        data: Any = body
        if body is not None and len(body) > LARGE:
            data = io.BytesIO(body)  # written piece by piece
        url = URL(target.base_url + path, encoded=True)
        return await self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False
        )


class telling_apart:
    """What went wrong with an upstream, as the status the client gets.

    Silence is 504; what could not be reached, broke off, or is not HTTP is 502.
    """

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: Any, trace: object) -> None:
        if isinstance(error, TimeoutError):
            raise Refused(504, "The upstream did not answer in time.") from error
        if isinstance(error, BROKE_OFF):
            raise Refused(502, "The upstream broke off.") from error
        if isinstance(error, aiohttp.ClientResponseError):
            raise Refused(502, "The upstream's answer is not valid HTTP.") from error
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            raise Refused(502, "The upstream is unavailable.") from error


def check_answer(response: aiohttp.ClientResponse) -> None:
    if 300 <= response.status < 400:
        raise Refused(502, "The upstream answered with a redirect.")
    most = limits.PROXY_MAX_RESPONSE_BYTES
    if (response.content_length or 0) > most:
        raise Refused(502, f"The upstream's answer is larger than {most} bytes.")
