"""Whether a role answers, for probes of containers: ``istore-probe [ROLE] [--ready]``.

Exit status 0: it does; 1: it does not, with one line that says why. It starts often, so it loads no
more than it needs: no app, and the settings only where it has to ask a server.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from istore import env, pulse

# Path of "is alive", and of "may get calls".
PATHS = {
    "web": ("/health/live", "/health/ready"),
    "proxy": ("/v2/health/live", "/v2/health/ready"),
}
PORTS = {"web": ("ISTORE_PORT", 8000), "proxy": ("ISTORE_PROXY_PORT", 8001)}
WITH_PULSE = ("listener", "worker", "exporter", "beat", "sessions")
BROKER_SECONDS = 3


def trouble(role: str, *, ready: bool) -> str | None:
    """Return why the role does not answer, or None if it does."""
    if role in PATHS:
        return _trouble_of_server(role, PATHS[role][ready])
    seconds = pulse.age(role)
    if seconds is None:
        return f"{role}: has not begun to work in this home."
    if seconds > pulse.STALE_SECONDS and (role == "listener" or _broker_answers()):
        return f"{role}: was last seen at work {seconds:.0f} s ago."
    return None


def _trouble_of_server(role: str, path: str) -> str | None:
    from istore.probes import answers_ok

    name, default = PORTS[role]
    port = env.number(name, default, least=1, most=65535)
    host = env.text("ISTORE_HOST", "127.0.0.1")
    if answers_ok(host, port, path):
        return None
    return f"{role}: no 200 from {path} at port {port}."


def _broker_answers() -> bool:
    """Return whether the broker answers. A role that waits for it is not to be ended for that."""
    import redis
    from django.conf import settings

    from istore.tasks.broker import connect

    try:
        with connect(settings.ISTORE_REDIS_URL, seconds=BROKER_SECONDS) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    roles = (*PATHS, *WITH_PULSE)
    parser = ArgumentParser("istore-probe", description=__doc__.partition("\n")[0])
    parser.add_argument("role", nargs="?", choices=roles)
    parser.add_argument(
        "--ready", action="store_true", help="whether it may get calls, not only lives"
    )
    given = parser.parse_args(arguments)
    role = given.role or env.choice(pulse.ROLE, "web", roles)
    if why := trouble(role, ready=given.ready):
        print(why, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
