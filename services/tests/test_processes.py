"""Sessions of processes: real ones, which are started, watched, killed and stopped."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from django.db import connection

from istore.tests.running_store import descendants, processes
from services.models import Replica, Status
from services.runners import process_guard
from services.runners.commands import BadCommands, listed
from services.runners.processes import RUNNER_LOCK
from services.sessions import terminate_session

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc"),
]


def ask(replica: Replica) -> dict:
    return requests.post(f"{replica.url}/generate", json={"n": 1}, timeout=10).json()


def ready(session) -> list[Replica]:
    return list(session.running.filter(is_ready=True))


def test_a_session_starts_and_answers(running, commands):
    commands(answering=[])
    session = running.start("answering")
    assert session.status == Status.CREATED
    running.runner.look()
    session.refresh_from_db()
    assert session.status == Status.ADMITTED
    running.until_status(session, Status.READY)
    assert session.ready_at is not None
    (replica,) = ready(session)
    assert ask(replica)["asked"] == {"n": 1}


def test_the_process_sees_nothing_of_the_store_s_environment(
    running, commands, monkeypatch
):
    monkeypatch.setenv("ISTORE_SECRET_KEY", "hidden")
    commands('environment = { OMP_NUM_THREADS = "1" }', answering=[])
    session = running.start("answering")
    running.until_status(session, Status.READY)
    names = ask(ready(session)[0])["environment"]
    assert "OMP_NUM_THREADS" in names and "PORT" in names
    assert not any(name.startswith(("ISTORE", "DJANGO")) for name in names)


def test_there_are_as_many_replicas_as_were_asked_for(running, commands):
    commands(answering=[])
    session = running.start("answering", replicas=3)
    running.until(lambda: len(ready(session)) == 3)
    assert len({ask(each)["pid"] for each in ready(session)}) == 3


def test_a_replica_that_dies_is_started_again(running, commands):
    commands(answering=[])
    session = running.start("answering", replicas=2)
    running.until(lambda: len(ready(session)) == 2)
    first, second = ready(session)
    os.kill(ask(first)["pid"], signal.SIGKILL)
    running.until(lambda: len(ready(session)) == 1)
    session.refresh_from_db()
    assert session.status == Status.READY  # the other goes on
    assert ask(second)["pid"]
    running.until(lambda: len(ready(session)) == 2)
    again = session.running.get(number=first.number)
    assert again.starts == 2
    assert ask(again)["pid"]


def test_without_any_replica_the_session_is_starting_again(running, commands):
    commands(answering=[])
    session = running.start("answering")
    running.until_status(session, Status.READY)
    first = session.ready_at
    os.kill(ask(ready(session)[0])["pid"], signal.SIGKILL)
    running.until_status(session, Status.ADMITTED)
    running.until_status(session, Status.READY)
    assert session.ready_at == first


def test_restarts_come_later_each_time_until_the_session_has_failed(
    running, commands, settings
):
    settings.ISTORE_PROCESS_RESTART_SECONDS = 0.05
    commands(failing=["fails"])
    session = running.start("failing")
    began = time.monotonic()
    running.until_status(session, Status.ERROR)
    assert time.monotonic() - began > 0.05 * (1 + 2 + 4 + 8)
    assert session.reason == "It cannot be started. It ended with exit status 3."
    assert session.ended_at is not None
    running.until(lambda: not session.running.exists())


def test_a_program_that_is_not_there_is_an_error_with_its_reason(
    running, commands, settings
):
    settings.ISTORE_PROCESS_RESTART_SECONDS = 0.01
    commands().write_text('[absent]\ncommand = ["/no/such/program"]\n')
    session = running.start("absent")
    running.until_status(session, Status.ERROR)
    assert "exit status 127" in session.reason
    assert "/no/such/program: No such file" in running.log.read_text()


def test_a_directory_that_is_not_there_is_an_error_too(running, commands, settings):
    settings.ISTORE_PROCESS_RESTART_SECONDS = 0.01
    commands('directory = "/no/such/directory"', answering=[])
    session = running.start("answering")
    running.until_status(session, Status.ERROR)
    assert "/no/such/directory: No such file" in session.reason


def test_what_does_not_get_ready_in_time_is_started_again(running, commands, settings):
    settings.ISTORE_PROCESS_RESTART_SECONDS = 0.01
    commands("start_seconds = 1", silent=["silent"])
    session = running.start("silent")
    running.until(lambda: session.running.filter(starts__gte=2).exists())
    assert session.running.get().said == "It was not ready in 1 seconds."


def test_terminating_leaves_nothing(running, commands):
    commands(leaving=["leaves"])
    before = descendants(os.getpid())
    session = running.start("leaving", replicas=2)
    running.until(lambda: len(ready(session)) == 2)
    started = descendants(os.getpid()) - before
    # The keeper, its command, and what that left in a session of its own.
    assert len(started) == 6
    terminate_session("test", session)
    running.until(lambda: not started & set(processes()))
    assert not session.running.exists()


def test_a_process_that_will_not_stop_is_killed(running, commands):
    commands("stop_seconds = 0.3", stubborn=["stubborn"])
    session = running.start("stubborn")
    running.until_status(session, Status.READY)
    pid = ask(ready(session)[0])["pid"]
    terminate_session("test", session)
    running.until(lambda: pid not in processes(), seconds=5)


def test_expiry_stops_the_processes(running, commands):
    commands(answering=[])
    session = running.start("answering")
    running.until_status(session, Status.READY)
    pid = ask(ready(session)[0])["pid"]
    session.expires_at = session.created_at
    session.save()
    running.until(lambda: pid not in processes())


def test_a_command_that_was_taken_off_the_list_fails_its_session(running, commands):
    commands(answering=[])
    session = running.start("answering")
    commands(other=[])
    running.until_status(session, Status.ERROR)
    assert session.reason == "There is no command 'answering' any more."


def test_a_second_runner_waits_until_the_first_is_gone(running, commands):
    def lock() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 5000")
        RUNNER_LOCK.wait()

    commands(answering=[])
    session = running.start("answering")
    with ThreadPoolExecutor(1) as other:
        other.submit(lock).result()
        for _ in range(10):
            running.runner.look()
            time.sleep(0.1)
        session.refresh_from_db()
        assert session.status == Status.CREATED
        other.submit(lambda: connection.close()).result()
        running.until_status(session, Status.READY)


# -- keepers


def test_a_keeper_that_loses_its_runner_stops_everything(tmp_path):
    """As when the runner is killed: the pipe ends, and nobody says anything."""
    script = "sleep 601 & setsid sleep 602 & sleep 603"
    argv = [sys.executable, "-I", "-S", process_guard.__file__, "2", "sh", "-c", script]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
    _until(lambda: len(descendants(process.pid)) == 4)
    ours = descendants(process.pid)
    process.stdin.close()
    assert process.wait(5) == 128 + signal.SIGTERM
    assert not ours & set(processes())


def test_a_killed_keeper_takes_its_command_with_it():
    argv = [sys.executable, "-I", "-S", process_guard.__file__, "2", "sleep", "604"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
    _until(lambda: len(descendants(process.pid)) == 1)
    (command,) = descendants(process.pid)
    _until(lambda: "sleep" in processes().get(command, (0, ""))[1])
    process.kill()
    process.wait(5)
    process.stdin.close()
    _until(lambda: command not in processes())


def _until(holds, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- the file


def test_the_file_is_read_again_when_it_changes(commands):
    path = commands(first=[])
    assert list(listed()) == ["first"]
    commands(second=[])
    os.utime(path, ns=(1, time.time_ns()))
    assert list(listed()) == ["second"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[a", "Expected"),
        ("a = 1", "'a' is not a table"),
        ("[a]\ncommand = 'sh -c x'", r"\[a\] command: A list of texts"),
        ("[a]\ncommand = []", "A list of texts"),
        ("[a]\ncommand = ['x']\nport = 1", "port: There is no such member"),
        ("[a]\ncommand = ['x']\nprotocol = 'v2'", "model: A V2 server"),
        ("[a]\ncommand = ['x']\nstart_seconds = 0", "A number from 1"),
    ],
)
def test_a_file_that_is_not_right_says_where(commands, text, why):
    commands().write_text(text)
    with pytest.raises(BadCommands, match=why):
        listed()


def test_without_a_file_there_are_no_commands(settings):
    settings.ISTORE_PROCESSES_FILE = None
    assert listed() == {}
    settings.ISTORE_PROCESSES_FILE = Path("/no/such/file")
    with pytest.raises(BadCommands, match="No such file"):
        listed()
