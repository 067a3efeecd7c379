"""Start everything, or stop it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from supervisor.daemonize import run_detached
from supervisor.home_lock import NotStopping, stop_running
from supervisor.stack import start_everything
from supervisor.supervise import Failed, Supervisor


class Command(BaseCommand):
    help = "Starts the store: database, broker, web, proxy, listener and worker."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--detach", action="store_true", help="return when ready")
        parser.add_argument("--stop", action="store_true", help="stop the one running")
        parser.add_argument("--demo", action="store_true", help="with a demonstration")

    def handle(
        self, *, detach: bool, stop: bool, demo: bool, **options: Any
    ) -> str | None:
        home = settings.ISTORE_HOME
        if stop:
            try:
                return "Stopped." if stop_running(home) else "It was not running."
            except NotStopping as error:
                raise CommandError(str(error)) from None
        if detach:
            output = home.root / "log" / "up.out"
            sys.exit(
                run_detached(lambda *status: _supervise(demo, False, *status), output)
            )
        _supervise(demo, True, lambda line: print(line, flush=True), lambda: None)
        return None


def _supervise(
    demo: bool,
    echo: bool,
    announce: Callable[[str], None],
    when_ready: Callable[[], None],
) -> None:
    supervisor = Supervisor(settings.ISTORE_HOME, announce, echo=echo)
    try:
        supervisor.run(partial(start_everything, demo=demo), when_ready)
    except Failed as error:
        raise CommandError(str(error)) from None
