from __future__ import annotations

from django.apps import AppConfig

from istore.db import vacuum_settings
from istore.db.vacuum_settings import by_share

VACUUM_SETTINGS = {
    # As large as all partitions of inferences together, where each is a span.
    "traces_span": by_share(dead=0.02),
}


class TracesConfig(AppConfig):
    name = "traces"

    def ready(self) -> None:
        vacuum_settings.tables.register(self.label, VACUUM_SETTINGS)
        from inferences.erasure import TraceHolder, trace_holders
        from inferences.search.filters import in_trace
        from inferences.store.side_tables import SideTable, side_tables
        from istore.web import finding, rail
        from traces import erasing, found, membership
        from traces.models import Span

        side_tables.register("span", SideTable(Span._meta.db_table, "id"))
        in_trace.lookups.register("traces", membership.rows_in)
        trace_holders.register(
            "sessions of spans", TraceHolder(of_value=erasing.forget_session)
        )
        finding.sources.register("Traces", found.find_traces)
        place = rail.Place("branches", 15, rail.named("traces:overview"), ("traces",))
        rail.places.register("Traces", place)
