"""A client that lives through ``fork``: each process gets its own records, and no other's."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from inference_store import Client, connection, inference, mocks
from inference_store.aio import AsyncClient
from inference_store.errors import ConnectionFailed

GETS, CHILDREN = 32, 4

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork here.")
pytestmark = [
    forks,
    # Forking with threads about is what the tests are for.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


class _Handler(BaseHTTPRequestHandler):
    """Answers with the id that was asked for, a little late, on kept connections."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write an answer
    connections: set[tuple] = set()

    def do_GET(self) -> None:
        self.server.connections.add(self.client_address)
        name = self.path.partition("?")[0].rpartition("/")[2]
        time.sleep(0.001)
        body = json.dumps(
            {
                "model_id": "m",
                "inference_id": name,
                "inference_action": "detect",
                "data_hash": "0" * 64,
                "created_at": "2026-01-01T00:00:00Z",
                "updated_at": "2026-01-01T00:00:00Z",
                "version": "1",
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *about: object) -> None:
        pass


@pytest.fixture
def server():
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.connections = set()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def url(server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def wrong_gets(client: Client, who: str) -> int:
    """How many of the gets came back with another id than was asked for, or failed."""
    wrong = 0
    for number in range(GETS):
        name = f"{who}-{number}"
        try:
            found = client.inference.get_inference("m", name)
        except Exception:
            wrong += 1
        else:
            wrong += found is None or found.inference_id != name
    return wrong


def in_children(act, count: int = CHILDREN) -> list[int]:
    """Exit statuses of as many forks that act at once."""
    children = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                status = act(number)
            finally:
                os._exit(min(status, 99))
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def test_each_fork_gets_its_own_records_while_the_parent_goes_on(url):
    with Client(url) as client:
        assert wrong_gets(client, "before") == 0
        assert in_children(lambda n: wrong_gets(client, f"first{n}")) == [0] * CHILDREN
        during = []
        working = threading.Thread(
            target=lambda: during.append(wrong_gets(client, "parent"))
        )
        working.start()
        assert in_children(lambda n: wrong_gets(client, f"child{n}")) == [0] * CHILDREN
        working.join()
        assert during == [0]
        assert wrong_gets(client, "after") == 0


def test_a_fork_in_one_of_many_threads_works_with_many_threads(url):
    def threads(who: str, client: Client) -> int:
        counts: list[int] = []
        running = [
            threading.Thread(
                target=lambda n=n: counts.append(wrong_gets(client, f"{who}{n}"))
            )
            for n in range(3)
        ]
        for each in running:
            each.start()
        for each in running:
            each.join()
        return sum(counts)

    with Client(url) as client:
        outcomes: list[int] = []

        def fork_and_go_on() -> None:
            outcomes.extend(in_children(lambda n: threads(f"c{n}", client), 2))
            outcomes.append(threads("p", client))

        forking = [threading.Thread(target=fork_and_go_on) for _ in range(2)]
        for each in forking:
            each.start()
        outcomes.append(threads("main", client))
        for each in forking:
            each.join()
        assert outcomes == [0] * 7


def test_a_pool_of_processes_uses_the_client_of_the_module(url):
    connection.current = Client(url)
    try:
        assert inference.get_inference("m", "first").inference_id == "first"
        names = [f"n{number}" for number in range(60)]
        with multiprocessing.get_context("fork").Pool(4) as pool:
            assert pool.map(_id_got, names) == names
    finally:
        connection.current.close()
        connection.current = None


def _id_got(name: str) -> str:
    return inference.get_inference("m", name).inference_id


def test_a_server_that_forks_workers_before_it_serves_and_its_grandchildren(url):
    with Client(url) as client:
        client.inference.get_inference("m", "preloaded")

        def worker(number: int) -> int:
            mine = wrong_gets(client, f"worker{number}")
            return mine + sum(
                in_children(lambda n: wrong_gets(client, f"{number}.{n}"), 2)
            )

        assert in_children(worker, 3) == [0, 0, 0]


def test_a_child_that_closes_or_connects_anew_leaves_the_parent_its_connection(
    url, server
):
    connection.current = client = Client(url)
    try:
        client.inference.get_inference("m", "a")

        def close(number: int) -> int:
            from inference_store import connect

            if number:
                client.close()
            else:
                connect(url)
            return 0

        assert in_children(close, 2) == [0, 0]
        client.inference.get_inference("m", "b")
        assert len(server.connections) == 1
    finally:
        client.close()
        connection.current = None


def test_the_awaited_client_gets_its_own_records_in_a_fork(url):
    client = AsyncClient(url)

    async def wrong(who: str) -> int:
        async def one(number: int) -> bool:
            name = f"{who}-{number}"
            found = await client.inference.get_inference("m", name)
            return found.inference_id != name

        return sum(await asyncio.gather(*map(one, range(GETS))))

    async def parent() -> None:
        assert await wrong("parent") == 0
        loop = asyncio.get_running_loop()

        def child(number: int) -> int:
            asyncio.events._set_running_loop(None)
            return asyncio.run(wrong(f"child{number}"))

        # The parent works on while its children do.
        mine = asyncio.ensure_future(wrong("meanwhile"))
        statuses = await loop.run_in_executor(None, in_children, child)
        assert statuses == [0] * CHILDREN
        assert await mine == 0 and await wrong("later") == 0
        await client.close()

    asyncio.run(parent())


def test_a_transport_that_was_given_is_refused_in_a_child(url):
    client = Client(url, transport=httpx2.HTTPTransport())
    client.inference.get_inference("m", "a")

    def child(number: int) -> int:
        try:
            client.inference.get_inference("m", "b")
        except ConnectionFailed as error:
            return 0 if "fork" in str(error) else 1
        return 2

    assert in_children(child, 1) == [0]
    client.close()


def test_a_mock_answers_in_a_child_whatever_thread_held_it(url):
    mock = mocks.create("text-completion", {})
    mock._lock._lock.acquire()  # as a thread does that is not in the child
    assert in_children(lambda n: 0 if mock.infer({"text": "a ship"}) else 1, 1) == [0]


def test_a_client_that_was_closed_stays_closed_in_a_child(url):
    client = Client(url)
    client.close()

    def child(number: int) -> int:
        try:
            client.inference.get_inference("m", "a")
        except RuntimeError:
            return 0
        return 1

    assert in_children(child, 1) == [0]
    with pytest.raises(RuntimeError):
        client.inference.get_inference("m", "a")
