"""Builders of services and sessions."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from django.db import connection

from istore.child_process import Journal
from services.models import InferenceService, InferenceSession, Runner
from services.runners.processes import ProcessRunner
from services.sessions import create_service, start_session

ANSWERING = Path(__file__).with_name("answering.py")


@pytest.fixture
def make_service(project):
    """``make_service("url", url="http://…")``; a mock unless something else is said."""

    def make(runner: str = "mock", **given) -> InferenceService:
        fields = {
            name: given.pop(name)
            for name in ("name", "model_id", "output_schema", "endpoint", "project")
            if name in given
        }
        if runner == Runner.MOCK and not given:
            given = {"mock": "text-completion"}
        values = {"name": "a service", "account": "a", "endpoint": "generate"} | fields
        values.setdefault("project", project)
        return create_service("test", runner=runner, configuration=given, **values)

    return make


@pytest.fixture
def make_session(make_service):
    """``make_session(service)``: a session and its secret."""

    def make(service: InferenceService | None = None, **given):
        return start_session("test", service or make_service(), **given)

    return make


@pytest.fixture
def commands(settings, tmp_path):
    """``commands(name=["slow"])``: lists commands, all of the server of the tests."""
    path = tmp_path / "processes.toml"
    settings.ISTORE_PROCESSES_FILE = path

    def listed(more: str = "", **given: list[str]) -> Path:
        lines = []
        for name, does in given.items():
            argv = [sys.executable, "-I", "-S", str(ANSWERING), "{port}", *does]
            lines += [f"[{name}]", f"command = {json.dumps(argv)}"]
            lines += ['ready = "/health"', more]
        path.write_text("\n".join(lines))
        return path

    return listed


@pytest.fixture
def running(commands, tmp_path, make_service, make_session):
    """The runner of processes, whose rounds are this test's to make."""
    found = Running(tmp_path, make_service, make_session)
    yield found
    found.runner.stop_all()
    found.journal.close()
    with connection.cursor() as cursor:  # which outlives the test
        cursor.execute("SELECT pg_advisory_unlock_all()")


class Running:
    def __init__(self, directory: Path, make_service, make_session) -> None:
        self.make_service, self.make_session = make_service, make_session
        self.log = directory / "sessions.log"
        self.journal = Journal(self.log, echo=False)
        self.runner = ProcessRunner(self.journal, threading.Event())

    def start(self, name: str, **given) -> InferenceSession:
        return self.make_session(self.make_service("process", process=name), **given)[0]

    def until(self, holds, seconds: float = 15) -> None:
        """Rounds, until it holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "it did not come about in time"
            self.runner.look()
            time.sleep(0.02)

    def until_status(self, session: InferenceSession, status: str, **options) -> None:
        def has_it() -> bool:
            session.refresh_from_db()
            return session.status == status

        self.until(has_it, **options)


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
