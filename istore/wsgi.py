"""Django as a WSGI application; ``istore.asgi`` serves it."""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.signals import request_started
from django.db import close_old_connections, reset_queries
from django.urls import resolve
from django.utils.http import parse_header_parameters

from istore import env, lifeline
from istore.db.kept_connections import close_ended_connection
from istore.telemetry import metrics, startup

lifeline.hold()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")

django.setup()

# Here, because settings are those of the process that this one was forked from. Only a server
# sets it: each of its few threads keeps a connection.
if env.flag("ISTORE_DATABASE_STAYS", default=False):
    settings.DATABASES["default"]["CONN_MAX_AGE"] = 3600
    request_started.connect(close_ended_connection)


class StoreRequest(WSGIRequest):
    """A request that can be constructed whatever its headers say; middleware judges them.

    Django would read even the query by the charset of the Content-Type, before any middleware,
    and ``zlib`` is a codec, too. Texts are UTF-8 here (``request_checks``).
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = "", {}
        with suppress(LookupError, ValueError):  # a parameter in an unknown charset
            self.content_type, self.content_params = parse_header_parameters(
                meta.get("CONTENT_TYPE", "")
            )


class StoreHandler(WSGIHandler):
    request_class = StoreRequest


application = StoreHandler()

# Tests import this module, and are no process of a store.
if not settings.TESTING:
    startup.begin(metrics.WEB, is_one_of_several=True)

# Connections that failed or are too old are closed after each request, and nobody uses those of
# a thread between two requests. What the server ended meanwhile is seen without asking it.
# Queries are logged in development alone.
request_started.disconnect(close_old_connections)
if not settings.DEBUG:
    request_started.disconnect(reset_queries)

# All views are loaded now, not at the first request. Objects that stay for good are not
# scanned by the garbage collector again; those scans delayed calls by tenths of a second.
resolve("/")
gc.collect()
gc.freeze()
# A page of fifty rows holds thousands of objects for a moment. The default threshold would
# collect several times in most calls. Cycles are few, and can wait some hundred calls.
gc.set_threshold(50_000, 10, 10)
