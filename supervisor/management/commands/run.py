"""Be one process of the store, as in a container; ``up`` starts all of them beside each other."""

from __future__ import annotations

import os
import socket
import subprocess
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from istore import env
from istore.pulse import ROLE
from istore.web import static_files
from supervisor import programs

ROLES = ("web", "proxy", "listener", "worker", "exporter", "beat", "sessions")


class Command(BaseCommand):
    help = "Runs one role of the store, until it is told to stop."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = f"which; else {ROLE} says it"
        parser.add_argument("role", nargs="?", choices=ROLES, help=what)

    def handle(self, *, role: str | None, **options: Any) -> None:
        role = role or env.choice(ROLE, "", ("", *ROLES))
        if not role:
            raise CommandError(f"Name a role: {', '.join(ROLES)}.")
        environment = {**os.environ, ROLE: role}
        environment.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
        if role == "web":
            environment |= programs.WEB_ENVIRONMENT
            _collect_static_files(environment)
        argv = _command(role)
        os.chdir(settings.BASE_DIR)
        # In place of this process: signals and exit status are the program's own.
        os.execve(argv[0], argv, environment)


def _command(role: str) -> list[str]:
    node = f"{role}@{socket.gethostname()}"
    commands: dict[str, Callable[[], list[str]]] = {
        "web": programs.web,
        "proxy": programs.proxy,
        "listener": lambda: programs.LISTENER,
        "worker": lambda: programs.worker(node),
        "exporter": lambda: programs.exporter(node),
        "beat": lambda: programs.BEAT,
        "sessions": lambda: programs.SESSIONS,
    }
    return commands[role]()


def _collect_static_files(environment: dict[str, str]) -> None:
    home = settings.ISTORE_HOME
    if static_files.are_collected(home):
        return
    try:
        subprocess.run(
            programs.COLLECT, cwd=settings.BASE_DIR, env=environment, check=True
        )
    except subprocess.CalledProcessError as error:
        raise CommandError("The static files could not be collected.") from error
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    static_files.note_collected(home)
