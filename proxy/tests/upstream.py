"""A model server for the tests: what it does follows from the name of the model."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import threading
from dataclasses import dataclass, field

import orjson
from aiohttp import web

VERSIONED = "knows-versions"
BINARY = "inference-header-content-length"


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """Runs in a thread of the test process, so that tests can look at what it saw."""

    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        left = asyncio.all_tasks(self._loop)  # who is silent still is
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = request.raw_path
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, path, headers, body))
        if "/versions/" in path and VERSIONED not in path:
            return web.json_response({"error": "no versions here"}, status=501)
        name = path.split("/models/")[-1].split("/")[0]
        behave = getattr(self, f"_{name.replace('-', '_')}", self._echo)
        return await behave(request, body)

    async def _echo(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"name": "echo", "platform": "test"})
        if "gzip" in request.headers.get("content-encoding", ""):
            body = gzip.decompress(body)
        answer = {"model_name": "echo", "outputs": [output(len(body), [1])]}
        text = orjson.dumps(answer).replace(b":", b" :  ")
        return web.Response(body=text, content_type="application/json")

    async def _mirror(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Says what arrived, whatever it is."""
        digest = hashlib.sha256(body).hexdigest()
        return web.json_response({"outputs": [], "parameters": {"seen": digest}})

    async def _lists(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Twenty million empty lists in a few kilobytes."""
        lists = b'{"outputs":[' + b"[]," * 20_000_000 + b"[]]}"
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=gzip.compress(lists, 1), headers=headers)

    async def _strict(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Refuses what it cannot read, in words of its own."""
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return web.json_response({"error": f"strict: {error}"}, status=422)
        return await self._mirror(request, body)

    async def _trickling(self, request: web.Request, body: bytes) -> web.Response:
        """Takes longer than an upstream may be silent, and never is."""
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Content-Length": "10"}
        )
        await response.prepare(request)
        for each in (b"[1", b", ", b"2,", b" 3", b" ]"):
            await response.write(each)
            await asyncio.sleep(0.6)
        return response

    async def _verdict(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """One answer, whatever the number of inputs."""
        return web.json_response({"outputs": [output(len(body), [1])]})

    async def _binary(self, request: web.Request, body: bytes) -> web.StreamResponse:
        length = int(request.headers.get(BINARY, len(body)))
        document = orjson.loads(body[:length])
        raw = body[length:]
        header = orjson.dumps(
            {
                "model_name": "binary",
                "model_version": "1",
                "id": document.get("id", ""),
                "outputs": [
                    {
                        "name": "out",
                        "datatype": "FP32",
                        "shape": document["inputs"][0]["shape"],
                        "parameters": {"binary_data_size": len(raw)},
                    }
                ],
            }
        )
        headers = {"Inference-Header-Content-Length": str(len(header))}
        return web.Response(
            body=header + raw,
            headers=headers,
            content_type="application/octet-stream",
        )

    async def _detector(self, request: web.Request, body: bytes) -> web.StreamResponse:
        count = len(orjson.loads(body)["inputs"])
        outputs = [
            {**output(n, [1]), "name": f"score-{n}", "datatype": "INT64"}
            for n in range(count)
        ]
        return web.json_response({"model_name": "detector", "outputs": outputs})

    async def _rows(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Two probabilities for each row of the first input."""
        length = request.headers.get(BINARY)
        document = orjson.loads(body[: int(length)] if length else body)
        count = document["inputs"][0]["shape"][0]
        value = {
            "name": "probabilities",
            "datatype": "FP32",
            "shape": [count, 2],
            "data": [n / 100 for row in range(count) for n in (row, 100 - row)],
        }
        return web.json_response({"model_name": "rows", "outputs": [value]})

    async def _gzipped(self, request: web.Request, body: bytes) -> web.StreamResponse:
        text = gzip.compress(orjson.dumps({"outputs": [output(1, [1])]}))
        return web.Response(
            body=text,
            headers={"Content-Encoding": "gzip", "X-Secret": "inside"},
            content_type="application/json",
        )

    async def _chunked(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return await self._in_chunks(
            request, "application/json", [b'{"outputs"', b":[]}"]
        )

    async def _events(self, request: web.Request, body: bytes) -> web.StreamResponse:
        chunks = [b"data: 1\n\n", b"data: 2\n\n"]
        return await self._in_chunks(request, "text/event-stream", chunks)

    async def _lines(self, request: web.Request, body: bytes) -> web.StreamResponse:
        chunks = [b'{"response": "a "}\n', b'{"response": "ship", "done": true}\n']
        return await self._in_chunks(request, "application/x-ndjson", chunks)

    async def _in_chunks(self, request, content_type, chunks) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.05)
        await response.write_eof()
        return response

    async def _failing(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return web.json_response({"error": "bad tensor"}, status=400)

    async def _redirecting(self, request, body: bytes) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": self.url})

    async def _silent(self, request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def _slow(self, request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return await self._echo(request, body)

    async def _large(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(body=bytes(3 * 2**20))

    async def _unending(self, request: web.Request, body: bytes) -> web.StreamResponse:
        chunks = [b"x" * 2**20] * 3
        return await self._in_chunks(request, "application/octet-stream", chunks)

    async def _early(self, request: web.Request, body: bytes) -> web.StreamResponse:
        request.transport.write(
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        )
        request.transport.close()
        return web.Response()

    async def _until_the_end(self, request: web.Request, body: bytes) -> web.Response:
        request.transport.write(b"HTTP/1.0 200 OK\r\n\r\n{}")
        request.transport.close()
        return web.Response()

    async def _doubtful(self, request: web.Request, body: bytes) -> web.Response:
        request.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        request.transport.close()
        return web.Response()

    async def _broken(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"only this")
        request.transport.abort()
        return response

    async def _nonsense(self, request: web.Request, body: bytes) -> web.StreamResponse:
        request.transport.write(b"220 smtp.example ESMTP\r\n")
        request.transport.close()
        return web.Response()


def output(value: int, shape: list[int]) -> dict:
    return {"name": "length", "datatype": "INT64", "shape": shape, "data": [value]}
