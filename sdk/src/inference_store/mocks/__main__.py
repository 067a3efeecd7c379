"""``python -m inference_store.mocks``: list the mocks, or serve one."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence

from inference_store import mocks
from inference_store.local.serving import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser("inference_store.mocks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the names of the mocks")
    serving = commands.add_parser("serve", help="serve a mock over HTTP")
    serving.add_argument("name", choices=sorted(mocks.registry))
    serving.add_argument("--host", default="127.0.0.1")
    serving.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    serving.add_argument("--seed", type=int, default=0)
    serving.add_argument(
        "--latency", type=float, default=0, help="seconds that an answer takes"
    )
    serving.add_argument(
        "--jitter",
        type=float,
        default=0,
        help="the largest number of seconds added at random",
    )
    serving.add_argument("--error-rate", type=float, default=0, help="from 0 to 1")
    serving.add_argument("--options", default="{}", help="further options, as JSON")
    given = parser.parse_args(arguments)
    if given.command == "list":
        for name, kind in sorted(mocks.registry.items()):
            print(f"{name:24}{kind.title}: {kind.interface.endpoint}")
        return 0
    names = ("seed", "latency", "jitter", "error_rate")
    try:
        options = {name: getattr(given, name) for name in names}
        mock = mocks.create(given.name, {**options, **json.loads(given.options)})
        server = serve(mock, given.port, given.host)
    except (ValueError, TypeError, OSError, OverflowError) as error:
        print(error, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"{given.name} answers at {server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
