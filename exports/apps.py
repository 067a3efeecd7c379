from __future__ import annotations

from django.apps import AppConfig


class ExportsConfig(AppConfig):
    name = "exports"

    def ready(self) -> None:
        from exports import erasing, verifying
        from exports.schedules import verifying as scheduled
        from inferences import erasure
        from istore.checks.verification import register

        erasure.register(
            "exports", of_records=erasing.of_records, of_value=erasing.of_value
        )
        register("archives", verifying.archives)
        register("leftovers of exports", verifying.leftovers)
        register("files of schedules", scheduled.files)
        register("partial files of schedules", scheduled.partial_files, collects=True)
