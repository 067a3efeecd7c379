from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created


class IstoreConfig(AppConfig):
    name = "istore"

    def ready(self) -> None:
        from istore.db import forks
        from istore.freshness import watch_connection

        forks.watch()
        connection_created.connect(watch_connection)
        from istore.backup import figures
        from istore.checks import health
        from istore.checks.operations import Panel, panels

        health.watched.register("backup", figures.lateness)
        panels.register("Backup", Panel("operations/_backup.html", figures.panel))
        from istore.telemetry import store_figures

        store_figures.register()
