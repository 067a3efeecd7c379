"""Tables of other apps with rows that belong to inferences, and go with them.

``side_tables.register("spans", SideTable("traces_span", "row_id"))`` in ``AppConfig.ready``. Such
a table has ``model_key``, and an index on it and on the column with the row id. Removals delete
its rows in the statement that deletes the inferences, and ``verify`` finds rows without one.
"""

from __future__ import annotations

from typing import NamedTuple

from istore.hooks import Hook


class SideTable(NamedTuple):
    """A table, and its column with the row id of the inference."""

    table: str
    column: str


side_tables: Hook[SideTable] = Hook()
