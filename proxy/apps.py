from __future__ import annotations

from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"

    def ready(self) -> None:
        from istore.checks import health, operations, verification
        from proxy.spool import spool_health

        health.watched["spool"] = spool_health.trouble
        health.watched["spool files"] = spool_health.files_left
        verification.register("spool files", spool_health.spool_files)
        operations.register(
            "Files of the spool", "operations/_spool_files.html", spool_health.panel
        )
