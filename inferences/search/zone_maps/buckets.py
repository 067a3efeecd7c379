"""Buckets: how many live rows of a segment or group have a number up to each of some edges.

Edges are values of rows at equal distances of their order, each once, so a bucket holds about as
many rows as another. The first edge is the lowest value and the last one the highest; so a number
below the first, or from the last on, is decided without reading a row. Else the rows between the
next lower edge and the number are read. NaN is the highest number, as PostgreSQL sorts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inferences.search.access_paths import TABLE, Sql


def edges_of(ordered: str, buckets: int) -> str:
    """Return SQL for the edges; ``ordered`` is SQL of the ascending array of all values."""
    place = f"1 + n * (cardinality({ordered}) - 1) / {buckets}"
    return f"""(
    SELECT array_agg(DISTINCT ({ordered})[{place}]) FILTER (WHERE {ordered} IS NOT NULL)
    FROM generate_series(0, {buckets}) AS n)"""


def ranks_of(ordered: str, edges: str) -> str:
    """Return SQL for the number of values up to and including each edge."""
    return f"""(
    SELECT array_agg(width_bucket(edge, {ordered}) ORDER BY edge)
    FROM unnest({edges}) AS edge)"""


@dataclass(frozen=True, slots=True)
class SlotRange:
    """A range of the numbers in one slot: the comparison of each end, None for an open one.

    A comparison is a sign, ``>`` or ``>=`` below and ``<`` or ``<=`` above, and a number.
    """

    slot: str
    low: tuple[str, Any] | None = None
    high: tuple[str, Any] | None = None

    @classmethod
    def of(cls, slot: str, sign: str, number: Any) -> SlotRange:
        """Return the range of one comparison."""
        if sign.startswith(">"):
            return cls(slot, low=(sign, number))
        return cls(slot, high=(sign, number))

    def __and__(self, other: SlotRange) -> SlotRange | None:
        """Return the range of both; None if it is of two slots, or an end has two comparisons."""
        if self.slot != other.slot:
            return None
        if (self.low and other.low) or (self.high and other.high):
            return None
        return SlotRange(self.slot, self.low or other.low, self.high or other.high)

    @property
    def kind(self) -> str:
        """The SQL type of the numbers."""
        return "bigint" if self.slot.startswith("integer") else "float8"

    @property
    def ends(self) -> list[tuple[str, bool, Any]]:
        """Each given end as a name, whether rows with the number itself lie below it, the number."""
        found = []
        if self.low:
            sign, number = self.low
            found.append(("low", sign == ">", number))
        if self.high:
            sign, number = self.high
            found.append(("high", sign == "<=", number))
        return found

    def pieces(self) -> Sql:
        """Return joins behind a segment: where it has buckets, how many values are below each end.

        ``is_bucketed`` says whether it has them, ``filled_here`` how many values there are. For
        each end ``low`` and ``high``, ``low_edge`` is the next edge below the end, null where no
        row lies between them, and ``low_rank`` its rank.
        """
        # A slice is a copy in memory: the stored array is fetched once.
        sql = (
            f"CROSS JOIN LATERAL (SELECT {self.slot}_edges IS NOT NULL AS is_bucketed, "
            f"({self.slot}_edges)[:] AS edges, ({self.slot}_ranks)[:] AS ranks OFFSET 0"
            ") AS bucket CROSS JOIN LATERAL "
            "(SELECT ranks[cardinality(edges)] AS filled_here OFFSET 0) AS filled_up"
        )
        values: list[Any] = []
        for name, includes, number in self.ends:
            # Not %s::bigint, which would negate the cast of the lowest number's digits.
            given = f"CAST(%s AS {self.kind})"
            place = f"width_bucket({given}, edges)"
            values.append(number)
            if not includes:  # an edge that is the number does not lie below it
                place = (
                    f"(SELECT place - coalesce(edges[place] = {given}, false)::integer "
                    f"FROM (SELECT {place} AS place OFFSET 0) AS up_to)"
                )
                values.append(number)
            sql += (
                f" CROSS JOIN LATERAL (SELECT {place} AS {name}_place OFFSET 0) "
                f"AS {name}_found CROSS JOIN LATERAL (SELECT "
                f"CASE WHEN {name}_place BETWEEN 1 AND cardinality(edges) - 1 "
                f"THEN edges[{name}_place] END AS {name}_edge, "
                f"coalesce(ranks[{name}_place], 0) AS {name}_rank OFFSET 0) AS {name}_told"
            )
        return Sql(sql, tuple(values))

    @property
    def columns(self) -> str:
        """The columns of ``pieces``, as SQL behind others."""
        ends = (f", {name}_edge, {name}_rank" for name, *_ in self.ends)
        return ", is_bucketed, filled_here" + "".join(ends)

    @property
    def below(self) -> str:
        """SQL for the rows of a piece in the range, but for those that ``rows_at`` reads."""
        high = "high_rank" if self.high else "filled_here"
        return f"{high} - low_rank" if self.low else high

    def rows_at(self, end: tuple[str, bool, Any], pieces: str, model: int) -> Sql:
        """Return the number of rows between the edge of their piece and the end.

        ``pieces`` is the name of a table of pieces with an edge. One scan of the slot's index reads
        the rows from the lowest of all edges on, and the edge of each row's own piece decides.
        """
        name, includes, number = end
        slot, sign = f"{TABLE}.{self.slot}", "<=" if includes else "<"
        arrays = ", ".join(
            f"array_agg({column} ORDER BY lowest_id) AS {column}s"
            for column in ("lowest_id", "highest_id", f"{name}_edge")
        )
        here = f"FROM {pieces} WHERE {name}_edge IS NOT NULL"
        return Sql(
            f"(SELECT count(*) FROM (SELECT {arrays} {here}) AS edge CROSS JOIN LATERAL ("
            f"SELECT {slot} AS number, {TABLE}.id, width_bucket({TABLE}.id, lowest_ids) AS place "
            f"FROM {TABLE} WHERE {TABLE}.model_key = %s AND NOT {TABLE}.deleted "
            f"AND {slot} IS NOT NULL AND {slot} > (SELECT min({name}_edge) {here}) "
            f"AND {slot} {sign} CAST(%s AS {self.kind}) OFFSET 0) AS row "
            f"WHERE place > 0 AND row.id <= highest_ids[place] "
            f"AND number > {name}_edges[place])",
            (model, number),
        )


def joined(ranges: Sequence[SlotRange | None]) -> SlotRange | None:
    """Return the one range that all of these make; None if there is no such one."""
    found: SlotRange | None = None
    for number, each in enumerate(ranges):
        if each is None:
            return None
        found = each if number == 0 else found and found & each
        if found is None:
            return None
    return found
