"""Querysets that every request needs, compiled to SQL once.

Django compiles a queryset each time. For small queries this takes ten times as long as
PostgreSQL takes to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import connection, models
from django.db.models.base import ModelState
from django.db.models.expressions import RawSQL
from django.db.models.query import QuerySet, get_related_populators

Row = tuple[Any, ...]
M = TypeVar("M", bound=models.Model)


@dataclass(frozen=True, slots=True)
class _Given:
    name: str


def parameter(name: str) -> RawSQL:
    """Return a placeholder in a queryset for a value given later, in the column's form."""
    return RawSQL("%s", [_Given(name)])


def _fill_in(parameters: Sequence[Any], values: Mapping[str, Any]) -> list[Any]:
    return [
        values[each.name] if isinstance(each, _Given) else each for each in parameters
    ]


class CompiledQuery(Generic[M]):
    """A queryset that is compiled once: ``CompiledQuery(lambda: Token.objects.filter(…))``.

    Values that differ between calls are written ``prefix=parameter("prefix")``. Only the filter,
    the order and ``select_related`` of the queryset are used; ``most`` is its limit, or None.
    """

    def __init__(
        self, queryset: Callable[[], QuerySet[M]], most: int | None = 1
    ) -> None:
        self._queryset = queryset  # called at first use: apps may not be ready
        self._most = most

    def first(self, **values: Any) -> M | None:
        """Return the first row that matches with these parameter values, or None."""
        found = self.all(**values)
        return found[0] if found else None

    def all(self, **values: Any) -> list[M]:
        """Return the rows that match with these parameter values."""
        sql, parameters, build = self._compiled
        with connection.cursor() as cursor:
            cursor.execute(sql, _fill_in(parameters, values))
            return list(map(build, cursor.fetchall()))

    @cached_property
    def _compiled(self) -> tuple[str, tuple[Any, ...], Callable[[Row], M]]:
        queryset = self._queryset()
        compiler = queryset[: self._most].query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        info, select = compiler.klass_info, compiler.select
        fields = info["select_fields"]
        columns = slice(fields[0], fields[-1] + 1)
        names = [select[number][0].target.attname for number in fields]
        # The stubs have the signature of Django 6.1.
        related = get_related_populators(info, select, connection.alias)  # type: ignore[call-arg]
        converters = compiler.get_converters([column for column, *_ in select])

        def build(row: Row) -> M:
            if converters:
                (row,) = compiler.apply_converters([row], converters)
            instance = queryset.model.from_db(connection.alias, names, row[columns])
            for populator in related:
                populator.populate(row, instance)
            return instance

        return sql, parameters, build


class CompiledValues:
    """The columns of a queryset that is compiled once: ``….values_list("name", "hue")``.

    Only for columns that need no converter of Django.
    """

    def __init__(self, queryset: Callable[[], QuerySet[Any, Row]]) -> None:
        self._queryset = queryset

    def rows(self, **values: Any) -> list[Row]:
        """Return the rows that match with these parameter values."""
        sql, parameters = self._compiled
        with connection.cursor() as cursor:
            cursor.execute(sql, _fill_in(parameters, values))
            found: list[Row] = cursor.fetchall()
        return found

    @cached_property
    def _compiled(self) -> tuple[str, tuple[Any, ...]]:
        compiler = self._queryset().query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        return sql, tuple(parameters)


class Columns(Generic[M]):
    """The columns of a table for a statement that is written out, and instances of their values.

    The fields must be such as need no converter of Django. Those that are left out are read
    when they are first asked for.
    """

    def __init__(
        self, table: type[M], alias: str, leave_out: Collection[str] = ()
    ) -> None:
        self.fields = [
            field
            for field in table._meta.concrete_fields
            if field.attname not in leave_out
        ]
        self.names = [field.attname for field in self.fields]
        self.sql = ", ".join(f'{alias}."{field.column}"' for field in self.fields)
        self._table = table

    def __len__(self) -> int:
        return len(self.names)

    def build(self, values: Sequence[Any]) -> M:
        """Return an instance as ``from_db`` does, without signals, in a third of the time."""
        instance = self._table.__new__(self._table)
        instance._state = state = ModelState()
        state.adding, state.db = False, "default"
        instance.__dict__.update(zip(self.names, values, strict=False))
        return instance
