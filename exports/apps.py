from __future__ import annotations

from django.apps import AppConfig

from istore.db import vacuum_settings
from istore.db.vacuum_settings import by_share, for_updates

VACUUM_SETTINGS = {
    "exports_exportedfile": by_share(dead=0.05),
    # Few rows, whose lease or position moves every few seconds.
    **{
        f"exports_{name}": for_updates(50)
        for name in ("exportschedule", "scheduledexport", "exporttask")
    },
}


class ExportsConfig(AppConfig):
    name = "exports"

    def ready(self) -> None:
        vacuum_settings.tables.register(self.label, VACUUM_SETTINGS)
        from exports import erasing, quick, telemetry, verifying
        from exports.lake import doors as lake
        from exports.models import ExportTask
        from exports.schedules import doors as schedules
        from exports.schedules import verifying as scheduled
        from inferences.erasure import TraceHolder, trace_holders
        from inferences.search.statistics import cold_ranges
        from inferences.web import list_downloads
        from istore.backup import hooks
        from istore.checks.verification import Check, checks
        from istore.web import rail

        list_downloads.formats.register("exports", quick.offered_formats)
        telemetry.register()

        trace_holders.register(
            "exports",
            TraceHolder(erasing.of_records, erasing.of_value, erasing.of_leftovers),
        )
        trace_holders.register(
            "files of schedules",
            TraceHolder(
                of_records=schedules.remove_records,
                of_value=schedules.remove_value,
                count_left=schedules.count_left,
            ),
        )
        trace_holders.register(
            "lake",
            TraceHolder(
                of_records=lake.remove_records,
                of_value=lake.remove_value,
                of_leftovers=lake.remove_leftovers,
                count_left=lake.count_left,
            ),
        )
        cold_ranges.register("lake", lake.find_cold)
        place = rail.Place("download", 30, rail.named("exports:overview"), ("exports",))
        rail.places.register("Exports", place)
        # Not required: archives expire meanwhile, and can be made again.
        archives = f"SELECT archive_key FROM {ExportTask._meta.db_table}"
        hooks.named_keys.register("exports", hooks.NamedKeys(archives, required=False))
        hooks.named_keys.register(
            "files of schedules",
            # Not required: readers may take files away.
            hooks.NamedKeys(scheduled.NAMED, required=False),
        )
        hooks.files_of_files.register("lake", hooks.FilesOfFiles(lake.files_for_backup))
        checks.register("archives", Check(verifying.archives))
        checks.register("leftovers of exports", Check(verifying.leftovers))
        checks.register("files of schedules", Check(scheduled.files))
        checks.register("files of the lake", Check(lake.verify_files))
        checks.register(
            "partial files of schedules", Check(scheduled.partial_files, collects=True)
        )
