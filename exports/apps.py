from __future__ import annotations

from django.apps import AppConfig


class ExportsConfig(AppConfig):
    name = "exports"

    def ready(self) -> None:
        from exports import verifying
        from istore.verification import register

        register("archives", verifying.archives)
        register("leftovers of exports", verifying.leftovers)
