"""The catalogue of the lake: in the store's own database, or a REST catalogue by setting.

In the database its tables are in a schema of their own, as every client of Iceberg's SQL catalogue
(JDBC) knows them. The statements name the schema, so that nothing depends on the session.
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog, SqlCatalogBaseTable
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from exports.lake import warehouse

NAME, SCHEMA = "istore", "istore_lake"
FILE_IO = f"{warehouse.BlobFileIO.__module__}.{warehouse.BlobFileIO.__name__}"
# What Django gives its connections and psycopg itself has no argument for.
OF_DJANGO = {"context", "cursor_factory", "prepare_threshold", "row_factory"}
URL = "postgresql+psycopg://"


def open_catalog() -> Catalog:
    """Return the catalogue. It keeps no connection open."""
    given = {"py-io-impl": FILE_IO, "warehouse": warehouse.location_of(warehouse.ROOT)}
    if settings.ISTORE_LAKE_CATALOG_URL:
        return RestCatalog(NAME, **given | _rest_properties())
    return StoreCatalog(NAME, uri=URL, **given)


def _rest_properties() -> dict[str, str]:
    named = {
        "uri": settings.ISTORE_LAKE_CATALOG_URL,
        "token": settings.ISTORE_LAKE_CATALOG_TOKEN,
        "credential": settings.ISTORE_LAKE_CATALOG_CREDENTIAL,
        "warehouse": settings.ISTORE_LAKE_CATALOG_WAREHOUSE,
    }
    return {name: value for name, value in named.items() if value}


class StoreCatalog(SqlCatalog):
    """Iceberg's SQL catalogue over the database connection that Django is configured with."""

    def __init__(self, name: str, **properties: str) -> None:
        MetastoreCatalog.__init__(self, name, **properties)
        engine = create_engine(URL, creator=_connect, poolclass=NullPool)
        self.engine = engine.execution_options(schema_translate_map={None: SCHEMA})
        self._schema_version = "v1"
        self._make_tables()

    def _make_tables(self) -> None:
        with self.engine.begin() as database:
            if database.scalar(text(f"SELECT to_regclass('{SCHEMA}.iceberg_tables')")):
                return
            # Two processes that come first at once: one waits for the other.
            database.execute(
                text(f"SELECT pg_advisory_xact_lock(hashtext('{SCHEMA}'))")
            )
            database.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            SqlCatalogBaseTable.metadata.create_all(database)


def _connect() -> psycopg.Connection[Any]:
    given = connection.get_connection_params()
    # A pooler of transactions loses statements that a session has prepared.
    return psycopg.connect(
        **{name: value for name, value in given.items() if name not in OF_DJANGO},
        prepare_threshold=None,
    )
