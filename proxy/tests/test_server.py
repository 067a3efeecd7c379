"""The HTTP server of the proxy, over raw sockets: what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from istore.sockets import listen
from proxy.http import server as http_server
from proxy.http.server import Server, origin_form

HOST = b"Host: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Echo:
    """Answers with method, path and body; counts what it has seen."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, bytes]] = []
        self.has_left = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        path, body, more = scope["raw_path"], b"", True
        if path == b"/early":
            await self.answer(send, b"no")
            return
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                await self.answer(send, b"cut", 400)
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append((scope["method"], path, body))
        if path == b"/stream":
            await self.stream(receive, send)
        elif path == b"/large":
            await self.answer(send, bytes(16 * 2**20))
        elif path == b"/short":
            headers = [(b"content-length", b"10")]
            await send(start(200, headers))
            await send({"type": "http.response.body", "body": b"123"})
        elif path == b"/fails":
            raise RuntimeError("It failed.")
        elif path == b"/empty":
            await send(start(204, []))
            await send({"type": "http.response.body", "body": b""})
        else:
            said = b"%b %b %b" % (scope["method"].encode(), path, body)
            await self.answer(send, said)

    async def stream(self, receive, send) -> None:
        await send(start(200, [(b"content-type", b"text/event-stream")]))
        await send(
            {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}
        )
        leaving = asyncio.ensure_future(receive())
        going = asyncio.ensure_future(self.go_on.wait())
        await asyncio.wait((leaving, going), return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            self.has_left.set()
            return
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    @staticmethod
    async def answer(send, body: bytes, status: int = 200) -> None:
        await send(start(status, [(b"content-length", b"%d" % len(body))]))
        await send({"type": "http.response.body", "body": body})


def start(status: int, headers: list) -> dict:
    return {"type": "http.response.start", "status": status, "headers": headers}


@asynccontextmanager
async def serving():
    """A server of an ``Echo``; yields it, the server and a function that connects."""
    echo, stopping = Echo(), asyncio.Event()
    server, listener = Server(echo), listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    running = asyncio.ensure_future(server.run(listener, stopping, 1.0))
    try:
        yield echo, server, lambda: asyncio.open_connection("127.0.0.1", port)
    finally:
        stopping.set()
        await running


async def said_to(connect, *pieces: bytes, closes: bool = False) -> bytes:
    """All that comes until the server closes; the pieces are sent one by one."""
    reader, writer = await connect()
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.01)
    if closes:
        writer.write_eof()
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def conversation(*pieces: bytes, closes: bool = False) -> tuple[bytes, Echo]:
    async with serving() as (echo, _, connect):
        return await said_to(connect, *pieces, closes=closes), echo


def statuses(said: bytes) -> list[int]:
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

# Each of these could be one request to us and another, or two, to a server in front of us.
SMUGGLED = {
    "length and chunks": b"Content-Length: 4\r\n" + CHUNKED,
    "chunks and length": CHUNKED + b"Content-Length: 4\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "a hexadecimal length": b"Content-Length: 0x5\r\n",
    "an empty length": b"Content-Length: \r\n",
    "a huge length": b"Content-Length: 99999999999999999999999\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "a coding before chunks": b"Transfer-Encoding: gzip, chunked\r\n",
    "a coding behind chunks": b"Transfer-Encoding: chunked, identity\r\n",
    "chunks twice": CHUNKED + CHUNKED,
    "identity": b"Transfer-Encoding: identity\r\n",
    "a coding in a header before chunks": b"Transfer-Encoding: gzip\r\n" + CHUNKED,
    "identity in a header before chunks": b"Transfer-Encoding: identity\r\n" + CHUNKED,
    "a blank before the colon": b"Transfer-Encoding : chunked\r\n",
    "a folded header": b"X: a\r\n Transfer-Encoding: chunked\r\n",
    "a bare line feed": b"X: a\nTransfer-Encoding: chunked\r\n",
    "a bare carriage return": b"X: a\rTransfer-Encoding: chunked\r\n",
    "a NUL": b"X: a\0b\r\n",
    "a vertical tab before chunked": b"Transfer-Encoding: \x0bchunked\r\n",
    "no name": b": chunked\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
async def test_what_could_be_two_requests_is_refused(name):
    head = b"POST /first HTTP/1.1\r\n" + HOST + SMUGGLED[name] + b"\r\n"
    said, echo = await conversation(head + b"0\r\n\r\n" + LAST)
    assert statuses(said) == [400], said
    assert b"connection: close" in said
    assert not echo.seen


BROKEN = {
    "no HTTP": b"hello\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a blank in the path": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: x\r\n"
    + CHUNKED
    + b"\r\n0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_request_is_a_400(name):
    said, echo = await conversation(BROKEN[name])
    assert statuses(said) == [400], said
    assert not echo.seen


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"a" * 70_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(101)),
        b"X: " + b"a" * 700_000,  # not to its end
    ],
)
async def test_a_head_that_is_too_large_is_a_431(head):
    said, echo = await conversation(b"GET / HTTP/1.1\r\n" + HOST + head + b"\r\n")
    assert statuses(said) == [431]
    assert not echo.seen


async def test_requests_in_a_row_are_answered_in_their_order():
    posts = b"".join(
        b"POST /%d HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n%02d" % (n, HOST, n)
        for n in range(50)
    )
    said, echo = await conversation(posts + LAST)
    assert statuses(said) == [200] * 51
    assert [path for _, path, _ in echo.seen] == [
        *(b"/%d" % n for n in range(50)),
        b"/last",
    ]
    assert said.index(b"POST /1 01") < said.index(b"POST /2 02")


async def test_a_broken_request_is_answered_after_those_before_it():
    said, echo = await conversation(
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n"
    )
    assert statuses(said) == [200, 400]
    assert len(echo.seen) == 1


async def test_a_body_in_chunks_is_read_without_extensions_and_trailers():
    head = b"POST /x HTTP/1.1\r\nConnection: close\r\n" + HOST + CHUNKED + b"\r\n"
    body = b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: 9\r\n\r\n"
    said, echo = await conversation(
        *[bytes([each]) for each in head[:30]], head[30:] + body
    )
    assert said.endswith(b"POST /x abcde")
    assert echo.seen == [("POST", b"/x", b"abcde")]


async def test_who_waits_to_be_asked_for_the_body_is_asked():
    async with serving() as (_, _, connect):
        reader, writer = await connect()
        head = b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
        writer.write(head + b"\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        # One that is answered without its body is not asked for it.
        writer.write(head.replace(b"/x", b"/early") + b"\r\n")
        said = (await reader.read()).removeprefix(b"POST /x ok")
        assert statuses(said) == [200]
        assert b"connection: close" in said
        writer.close()


@pytest.mark.parametrize("before", [0, 2 * http_server.HELD_BYTES])
async def test_who_is_answered_early_may_send_on_for_a_while(before):
    """A reset would take the answer from a client that has not read it yet."""
    async with serving() as (_, _, connect):
        reader, writer = await connect()
        head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n"
        writer.write(head + bytes(before))
        async with asyncio.timeout(10):
            assert statuses(await reader.read()) == [200]
            for _ in range(40):
                writer.write(bytes(100_000))
                await writer.drain()
                await asyncio.sleep(0.005)
        assert not writer.is_closing()
        writer.close()


async def test_who_closed_the_sending_side_gets_the_answer():
    said, _ = await conversation(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", closes=True)
    assert said.endswith(b"GET /x ")


@pytest.mark.parametrize("tail", [b"", b"ab", b"zz"])
@pytest.mark.parametrize("framing", [b"Content-Length: 3\r\n", CHUNKED])
async def test_a_body_that_breaks_off_is_told(framing, tail):
    head = b"POST /x HTTP/1.1\r\n" + HOST + framing + b"\r\n"
    said, echo = await conversation(head + tail, closes=True)
    assert statuses(said) == [400]
    assert said.endswith(b"cut")
    assert not echo.seen


async def test_head_has_the_headers_alone():
    said, _ = await conversation(
        b"HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert b"content-length: 8\r\n" in said
    assert said.endswith(b"\r\n\r\n")


async def test_no_content_has_no_length():
    said, _ = await conversation(b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
    assert statuses(said) == [204, 200]
    assert b"content-length" not in said.split(b"\r\n\r\n")[0]
    assert b"transfer-encoding" not in said


async def test_an_upgrade_is_not_followed():
    head = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    said, echo = await conversation(b"GET /x HTTP/1.1\r\n" + head + b"\r\n" + LAST)
    assert statuses(said) == [200]
    assert b"connection: close" in said
    assert echo.seen == [("GET", b"/x", b"")]
    head += b"Content-Length: 2\r\n\r\nok"
    said, echo = await conversation(b"POST /x HTTP/1.1\r\n" + head)
    assert statuses(said) == [400]
    assert not echo.seen


async def test_connect_makes_no_tunnel():
    said, _ = await conversation(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
    assert statuses(said) == [200]  # that of the application
    assert b"connection: close" in said


@pytest.mark.parametrize("keeps", [b"", b"Connection: keep-alive\r\n"])
async def test_http_1_0_gets_streams_without_chunks(keeps):
    async with serving() as (echo, _, connect):
        echo.go_on.set()
        said = await said_to(connect, b"GET /stream HTTP/1.0\r\n" + keeps + b"\r\n")
    assert said.endswith(b"\r\n\r\ndata: 1\n\ndata: 2\n\n")
    assert b"chunked" not in said


async def test_a_stream_arrives_piece_by_piece():
    async with serving() as (echo, _, connect):
        reader, writer = await connect()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"chunked" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"1\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
        echo.go_on.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
        writer.close()


async def test_a_stream_is_told_that_its_client_left():
    async with serving() as (echo, _, connect):
        reader, writer = await connect()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"1\n\n")
        writer.close()
        async with asyncio.timeout(5):
            await echo.has_left.wait()


@pytest.mark.parametrize("path", [b"/short", b"/fails"])
async def test_an_answer_that_is_not_whole_ends_the_connection(path):
    said, _ = await conversation(
        b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" + LAST
    )
    assert b"last" not in said


async def test_an_application_that_fails_before_its_answer_is_a_500():
    said, _ = await conversation(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
    assert statuses(said) == [500]
    assert b"connection: close" in said
    assert said.endswith(b'{"error":"The proxy failed. Its log says why."}')


async def test_trailers_have_their_own_limit_of_headers():
    head = b"POST /x HTTP/1.1\r\n" + HOST + CHUNKED + b"Connection: close\r\n"
    head += b"".join(b"X-%d: a\r\n" % n for n in range(http_server.HEADERS_MOST - 3))
    body = b"\r\n2\r\nde\r\n0\r\nX: 9\r\n\r\n"
    said, echo = await conversation(head + body)
    assert statuses(said) == [200]
    assert echo.seen == [("POST", b"/x", b"de")]
    trailers = b"".join(b"X-%d: a\r\n" % n for n in range(101))
    said, _ = await conversation(head + body.replace(b"X: 9\r\n", trailers))
    assert statuses(said) == [400]


async def test_the_longest_idle_connection_makes_room_for_a_new_one(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS_MOST", 2)
    ask = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving() as (echo, _, connect), asyncio.timeout(10):
        (first, to_first), (second, to_second) = await connect(), await connect()
        for reader, writer in ((second, to_second), (first, to_first)):
            writer.write(ask % b"x")
            await reader.readuntil(b"GET /x ")
        third, to_third = await connect()
        assert await second.read() == b""
        for reader, writer in ((first, to_first), (third, to_third)):
            writer.write(ask % b"stream")
            await reader.readuntil(b"1\n\n\r\n")
        fourth, to_fourth = await connect()  # the others are being answered
        to_fourth.write(ask % b"x")
        await fourth.readuntil(b"GET /x ")
        echo.go_on.set()
        for reader, writer in ((first, to_first), (third, to_third)):
            await reader.readuntil(b"0\r\n\r\n")
            writer.close()
        to_second.close(), to_fourth.close()


async def test_who_takes_no_answer_or_sends_no_head_is_cut_off(monkeypatch):
    monkeypatch.setattr(http_server, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(http_server, "SEND_SECONDS", 0.2)
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.2)
    async with serving() as (_, server, connect):
        _, slow = await connect()
        slow.transport.pause_reading()
        slow.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        reader, silent = await connect()
        silent.write(b"GET /x HT")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
            while server.connections:
                await asyncio.sleep(0.02)
        slow.close()
        silent.close()


async def test_a_large_answer_comes_whole_to_a_slow_reader():
    async with serving() as (_, _, connect):
        reader, writer = await connect()
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        assert await reader.read() == bytes(16 * 2**20)
        writer.close()


async def test_calls_in_flight_are_finished_when_it_stops():
    async with serving() as (echo, server, connect):
        reader, writer = await connect()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"1\n\n")
        _, idle = await connect()
        server.is_stopping = True
        for connection in list(server.connections):
            connection.stop()
        echo.go_on.set()
        assert (await reader.read()).endswith(b"data: 2\n\n\r\n0\r\n\r\n")
        for each in (writer, idle):
            each.close()


def test_whole_urls_are_read_as_paths():
    assert origin_form(b"/a?b") == b"/a?b"
    assert origin_form(b"http://x/a/b?c=/d") == b"/a/b?c=/d"
    assert origin_form(b"HTTP://x?c") == b"/?c"
    assert origin_form(b"http://x") == b"/"
    assert origin_form(b"*") == b"*"


# -- h11 as a second reader

NAMES = st.sampled_from(["X-A", "Accept", "Content-Type", "x-b"])
VALUES = st.text("abc/;=,\"' \t", max_size=20).map(str.strip)
BODIES = st.lists(st.binary(min_size=1, max_size=300), max_size=4)


@st.composite
def requests(draw) -> tuple[bytes, bytes]:
    """What h11 writes for a request, and its body."""
    pieces = draw(BODIES)
    body = b"".join(pieces)
    headers = [("Host", "x"), *draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))]
    is_chunked = draw(st.booleans())
    headers.append(
        ("Transfer-Encoding", "chunked")
        if is_chunked
        else ("Content-Length", str(len(body)))
    )
    client = h11.Connection(h11.CLIENT)
    target = draw(st.sampled_from(["/a", "/b?c=d", "/%2e/e"]))
    said = client.send(h11.Request(method="POST", target=target, headers=headers))
    for piece in pieces:
        said += client.send(h11.Data(data=piece))
    return said + client.send(h11.EndOfMessage()), body


@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.integers(1, 400)))
@settings(max_examples=60, deadline=None)
def test_h11_and_we_read_the_same(made, cuts):
    sent, pieces = b"".join(said for said, _ in made), []
    rest = sent
    for cut in cuts[:20]:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    pieces.append(rest + LAST)
    said, echo = asyncio.run(conversation(*filter(None, pieces)))
    assert [body for _, _, body in echo.seen] == [*(body for _, body in made), b""]
    answers = answers_of(said, ["POST"] * len(made) + ["GET"])
    expected = [b"%b %b %b" % (m.encode(), p, b) for m, p, b in echo.seen]
    assert answers == expected


@given(st.lists(requests(), min_size=1, max_size=2), st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_h11_refuses_or_reads_we_read_no_more(made, data):
    """A few bytes are changed. We may refuse more than h11 does, but never see other requests."""
    sent = bytearray(b"".join(said for said, _ in made))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(sent) - 1))
        sent[place] = data.draw(st.sampled_from(b"\r\n \t:,0aZ\0\xff"))
    _, echo = asyncio.run(conversation(bytes(sent), closes=True))
    # Several blanks before the version may be read as one (RFC 9112, 3); h11 does not.
    read = read_by_h11(re.sub(rb" +(?=HTTP/1\.[01]\r\n)", b" ", sent))
    assert [body for _, _, body in echo.seen] == read[: len(echo.seen)]


def read_by_h11(sent: bytes) -> list[bytes]:
    """The bodies of the whole requests that h11 finds."""
    server, found, body = h11.Connection(h11.SERVER), [], b""
    server.receive_data(sent)
    server.receive_data(b"")
    while True:
        try:
            event = server.next_event()
        except h11.RemoteProtocolError:
            return found
        if isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            found.append(body)
            body = b""
            if server.our_state is not h11.SEND_RESPONSE:
                return found
            server.send(
                h11.Response(status_code=200, headers=[("Content-Length", "0")])
            )
            server.send(h11.EndOfMessage())
            if server.our_state is h11.MUST_CLOSE:
                return found
            server.start_next_cycle()
        elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(
            event, h11.ConnectionClosed
        ):
            return found


def answers_of(said: bytes, methods: list[str]) -> list[bytes]:
    """The bodies of the answers, as h11 reads them."""
    found = []
    client = h11.Connection(h11.CLIENT)
    client.receive_data(said)
    for method in methods:
        client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        body = b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA
            if isinstance(event, h11.Data):
                body += event.data
        found.append(body)
        if client.our_state is h11.DONE and client.their_state is h11.DONE:
            client.start_next_cycle()
    return found


def test_several_sockets_share_a_port():
    first = listen("127.0.0.1", 0, is_shared=True)
    port = first.getsockname()[1]
    with first, listen("127.0.0.1", port, is_shared=True):
        with pytest.raises(OSError):
            listen("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port)):
            pass
