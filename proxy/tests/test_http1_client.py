"""The client for model servers, over raw sockets: answers whose framing is ambiguous."""

from __future__ import annotations

import asyncio

import pytest

from proxy.http.http1_client import Connection, NotHttp
from proxy.http.timeouts import Timeout


async def answered(answer: bytes) -> bytes:
    """The body that the client reads from a server that says this and closes."""

    async def serve(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        response = await connection.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with Timeout(10) as patience:
            return await response.read(patience)


@pytest.mark.parametrize(
    "first, second", [("identity", "chunked"), ("gzip", "chunked")]
)
async def test_two_transfer_encodings_are_refused(first, second):
    """Chunks that broke off were taken for a whole body that ends with the connection."""
    with pytest.raises(NotHttp):
        await answered(
            f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {first}\r\n"
            f"Transfer-Encoding: {second}\r\n\r\n5\r\nab".encode()
        )
