import os
import re
import signal
import socket
import sys
import time

import pytest
import requests

from istore.home import Home
from istore.tests.running_store import (
    RunningStore,
    children_named,
    descendants,
    processes,
    wait_until,
)
from supervisor.supervise import Failed, Supervisor

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="looks at processes by /proc"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One home for the module, with what paths may hold; its tests follow each other."""
    store = RunningStore(tmp_path_factory.mktemp("a home") / "with 'spaces'")
    commands = tmp_path_factory.mktemp("commands") / "processes.toml"
    # What answers has a child in a session of its own.
    served = "sleep 600 & exec python3 -m http.server --bind 127.0.0.1 $PORT"
    commands.write_text(
        f"[files]\ncommand = ['setsid', '-w', 'sh', '-c', '{served}']\n"
    )
    store.env["ISTORE_PROXY_WORKERS"] = "2"
    store.env["ISTORE_PROCESSES_FILE"] = str(commands)
    yield store
    store.command("up", "--stop")


@pytest.fixture(scope="module")
def first_start(store):
    with store.up() as running:
        yield running


@pytest.fixture
def idle(tmp_path):
    """A store that does not get as far as to start anything."""
    return RunningStore(tmp_path / "home")


def test_the_first_start_shows_password_and_token(store, first_start):
    first_start.wait_for("Shown this once:")
    password = first_start.wait_for("password of admin: ").split()[-1]
    token = first_start.wait_for("token for project default: ").split()[-1]
    assert len(password) >= 16
    assert token.startswith("ist_")
    assert password not in store.log()
    assert token not in store.log()


def test_a_second_up_on_the_same_home_is_refused(store, first_start):
    refused = store.command("up")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert f"is already running (process {first_start.process.pid})" in refused.stderr
    detached = store.command("up", "--detach")
    assert detached.returncode == 1
    assert "is already running" in detached.stderr


def test_commands_find_the_running_database(store, first_start):
    done = store.command("showmigrations", "istore")
    assert done.returncode == 0
    assert "[X] 0001_initial" in done.stdout


@pytest.mark.parametrize(
    "words", ["istore.asgi:application", "redis.sock", "manage.py listen"]
)
def test_a_child_that_dies_is_started_again(store, first_start, words):
    supervisor = first_start.process.pid
    (died,) = children_named(supervisor, words)
    os.kill(died, signal.SIGKILL)
    wait_until(lambda: children_named(supervisor, words) not in ([], [died]))
    wait_until(store.answers)


def web_log(store) -> str:
    return "".join(line for line in store.log().splitlines() if " web | " in line)


def test_the_other_web_worker_answers_while_a_killed_one_is_replaced(
    store, first_start
):
    supervisor = first_start.process.pid
    (server,) = children_named(supervisor, "istore.asgi")
    before = children_named(server, "istore.asgi")
    wait_until(lambda: all(f"Started worker-{n}" in web_log(store) for n in (1, 2)))
    os.kill(before[0], signal.SIGKILL)
    answered, failed = 0, 0
    while answered < 20:
        try:
            url = f"http://127.0.0.1:{store.port}/health/live"
            assert requests.get(url, timeout=30).status_code == 200
            answered += bool(set(children_named(server, "istore.asgi")) - set(before))
        except requests.ConnectionError:  # what the killed one had accepted
            failed += 1
        time.sleep(0.05)
    assert failed <= 2
    assert children_named(supervisor, "istore.asgi") == [server]


def test_calls_wait_while_a_killed_proxy_is_started_again(store, first_start):
    supervisor = first_start.process.pid
    first, second = children_named(supervisor, "proxy.serve")
    os.kill(first, signal.SIGKILL)
    # What reaches its socket waits there: the socket is the supervisor's.
    url = f"http://127.0.0.1:{store.proxy_port}"
    for _ in range(20):
        assert requests.get(f"{url}/v2/health/live", timeout=30).status_code == 200
    wait_until(lambda: len(children_named(supervisor, "proxy.serve")) == 2)
    after = children_named(supervisor, "proxy.serve")
    assert second in after
    assert first not in after


def test_each_proxy_answers_for_all_in_its_metrics(store, first_start):
    url = f"http://127.0.0.1:{store.proxy_port}"

    def refused() -> set[str]:
        """What the processes say; one of them is asked each time."""
        said = [requests.get(f"{url}/metrics", timeout=30).text for _ in range(8)]
        name = 'istore_proxy_refused_total{status="404"}'
        return {
            line.split()[1]
            for text in said
            for line in text.splitlines()
            if line.startswith(name)
        }

    for _ in range(30):
        assert requests.get(f"{url}/nothing", timeout=30).status_code == 404
    wait_until(lambda: refused() == {"30.0"})


def test_a_killed_database_is_started_again(store, first_start):
    (died,) = children_named(first_start.process.pid, "bin/postgres")
    os.kill(died, signal.SIGKILL)
    first_start.wait_for("database system is ready to accept connections")
    wait_until(store.answers)


def test_ctrl_c_stops_everything_within_ten_seconds(store, first_start):
    ours = descendants(first_start.process.pid)
    assert len(ours) > 7
    assert first_start.interrupt() < 10
    assert first_start.process.returncode == 0
    assert not ours & set(processes())


def test_detach_returns_when_ready_and_shows_no_secret_again(store):
    done = store.command("up", "--detach")
    assert done.returncode == 0, done.stderr
    assert "is ready" in done.stdout
    assert "Shown this once" not in done.stdout
    assert store.answers()


def test_a_killed_supervisor_leaves_nothing(store):
    start_session(store, "files")
    supervisor = store.supervisor()
    ours = descendants(supervisor)
    assert len(ours) > 7
    assert any("http.server" in processes()[each][1] for each in ours)
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not ours & set(processes()), seconds=8)


def test_the_next_start_after_that_succeeds_and_stop_waits_for_the_end(store):
    assert store.command("up", "--detach").returncode == 0
    ours = descendants(store.supervisor())
    stopped = store.command("up", "--stop")
    assert stopped.stdout == "Stopped.\n"
    assert not ours & set(processes())
    assert store.command("up", "--stop").stdout == "It was not running.\n"


def start_session(store, process):
    """A session of a listed command, ready to answer."""
    made = store.command("create_token", "t", "--project", "p", "--role", "editor")
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    api = f"http://127.0.0.1:{store.port}/api/v1"

    def post(path, **body):
        answer = requests.post(f"{api}/{path}", json=body, headers=headers, timeout=10)
        assert answer.status_code == 201, answer.text
        return answer.json()

    service = post(
        "inferenceservices",
        account="a",
        name=process,
        runner={"kind": "process", "process": process},
        interface={"endpoint": "generate"},
    )
    summary = post("inferencesessions", account="a", inferenceService=service["id"])
    ready = f"{api}/inferencesessions/{summary['inferencesession']['id']}/ready"

    def is_ready():
        return requests.get(ready, headers=headers, timeout=10).status_code == 200

    wait_until(is_ready)


def test_a_taken_port_is_refused_by_the_name_of_its_setting(idle):
    with socket.create_server(("127.0.0.1", idle.proxy_port), reuse_port=True):
        refused = idle.command("up")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"CommandError: ISTORE_PROXY_PORT: 127.0.0.1:{idle.proxy_port} is not free "
        "(address already in use).\n"
    )


def test_a_malformed_setting_stops_the_start_with_one_line(idle):
    refused = idle.command("up", ISTORE_PORT="eighty")
    assert refused.returncode == 1
    assert refused.stderr == "ISTORE_PORT: 'eighty' is not a whole number.\n"


def test_a_database_of_another_version_is_refused_with_one_line(idle):
    directory = idle.home / "postgres"
    directory.mkdir(parents=True)
    (directory / "PG_VERSION").write_text("16\n")
    refused = idle.command("up")
    assert refused.returncode == 1
    assert re.search(
        r"^CommandError: .*/postgres was made by PostgreSQL 16 and this release runs 18",
        refused.stderr,
        re.MULTILINE,
    )


def test_a_home_that_cannot_be_made_is_refused_with_one_line(idle):
    refused = idle.command("up", ISTORE_HOME="/proc/nowhere")
    assert refused.returncode == 1
    assert re.fullmatch(r"ISTORE_HOME: /proc/nowhere/secrets: .*\n", refused.stderr)


def test_a_database_that_keeps_ending_stops_everything(tmp_path, signals_kept):
    message = []
    supervisor = Supervisor(Home(tmp_path / "home"), message.append, echo=False)

    def start(supervisor):
        supervisor.start("postgres", ["sh", "-c", "echo the disk is full; exit 3"])
        for name in ("web", "proxy-2", "exporter"):
            supervisor.start(name, ["sleep", "60"])

    with pytest.raises(
        Failed, match=r"^postgres: it ended three times within a minute"
    ):
        supervisor.run(start, lambda: None)
    assert "postgres | the disk is full" in message
    assert not any(child.runs for child in supervisor.children.values())


@pytest.fixture
def signals_kept():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    found = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in found.items():
        signal.signal(number, handler)
