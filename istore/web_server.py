"""The web server: granian, which goes out of service before it stops.

``python -m istore.web_server`` takes the options of ``python -m granian``. At SIGTERM readiness is
refused for ``ISTORE_DRAIN_SECONDS`` while calls are still answered, so that whoever spreads calls
looks elsewhere first. A second signal does not wait.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

from granian import cli
from granian.server import Server as Granian

from istore import env
from istore.draining import mark_of


class Server(Granian):  # type: ignore[misc, valid-type]  # it depends on the interpreter
    """Granian's server, with a pause between a signal and the stop."""

    def signal_handler_interrupt(self, *args: Any, **options: Any) -> None:
        """Begin to drain; stop when that is over, or at the second signal."""
        seconds = env.number("ISTORE_DRAIN_SECONDS", 0, most=600)
        mark = mark_of(os.getpid())
        if not seconds or mark.exists():
            super().signal_handler_interrupt(*args, **options)
            return
        with suppress(OSError):
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch()
        stop = super().signal_handler_interrupt
        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()

    def shutdown(self, *args: Any, **options: Any) -> None:
        """Stop, and leave no mark for a process that gets the same number."""
        try:
            super().shutdown(*args, **options)
        finally:
            mark_of(os.getpid()).unlink(missing_ok=True)

    def startup(self, *args: Any, **options: Any) -> None:
        """Start without the mark of a process that was killed while it drained."""
        mark_of(os.getpid()).unlink(missing_ok=True)
        super().startup(*args, **options)


def main() -> None:
    """Run granian's command line with this server."""
    cli.Server = Server  # type: ignore[attr-defined]  # which it imports
    cli.entrypoint()  # type: ignore[no-untyped-call]  # of click


if __name__ == "__main__":
    main()
