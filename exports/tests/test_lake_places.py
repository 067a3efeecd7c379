"""The lake in a bucket, and with a REST catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

import pytest
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest, Table

from exports.lake import upkeep
from exports.lake.catalog import NAME, URL, StoreCatalog, open_catalog
from exports.lake.models import LakeTable
from exports.lake.query.running import query
from exports.tests.schedules import DAY
from exports.tests.test_export_erasing import erased
from exports.tests.test_lake import rows_of
from istore import blobs
from istore.db import clock

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_lake_in_a_bucket_is_written_queried_and_erased(
    s3_prefix, project, model, lake_schedule, make_inference, run_lake
):
    make_inference({"patient": "Jane Doe"}, inference_id="id-of-hers", created_at=DAY)
    make_inference({"patient": "John Doe"}, inference_id="id-of-his", created_at=DAY)
    run = run_lake(lake_schedule(model))
    assert run.state == "complete", run.reason

    sql = "SELECT id, meta_patient FROM yolo_harbour ORDER BY id"
    assert query([project], sql).rows == [
        ["id-of-hers", "Jane Doe"],
        ["id-of-his", "John Doe"],
    ]
    assert upkeep.tend(LakeTable.objects.get(), clock.now())

    erased(project)

    assert query([project], sql).rows == [["id-of-his", "John Doe"]]
    left = [blobs.get(each.key) for each in blobs.walk("lake/")]
    assert left
    assert not [content for content in left if b"id-of-hers" in content]


class Endpoint(BaseHTTPRequestHandler):
    """As much of a REST catalogue as the store asks for, over a catalogue in SQL."""

    def do_GET(self) -> None:
        if self.path.endswith("/config") or "/config?" in self.path:
            self.answer({"defaults": {}, "overrides": {}})
        else:
            self.with_table(lambda table: table)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = unquote(self.path).strip("/").split("/")
        if parts[-1] == "namespaces":
            try:
                self.catalog.create_namespace(tuple(body["namespace"]))
            except NamespaceAlreadyExistsError:
                self.fail(409, "AlreadyExistsException")
            else:
                self.answer({"namespace": body["namespace"], "properties": {}})
        elif parts[-1] == "tables":
            table = self.catalog.create_table(
                (parts[-2], body["name"]),
                Schema.model_validate(body["schema"]),
                body["location"],
                PartitionSpec.model_validate(body["partition-spec"]),
                properties=body["properties"],
            )
            self.told(table)
        else:
            request = CommitTableRequest.model_validate(body)

            def commit(table: Table) -> Table:
                self.catalog.commit_table(table, request.requirements, request.updates)
                return self.catalog.load_table(table.name())

            self.with_table(commit)

    @property
    def catalog(self) -> StoreCatalog:
        return self.server.catalog

    def with_table(self, act) -> None:
        *_, namespace, _, name = unquote(self.path).strip("/").split("?")[0].split("/")
        try:
            self.told(act(self.catalog.load_table((namespace, name))))
        except (NoSuchTableError, NoSuchNamespaceError):
            self.fail(404, "NoSuchTableException")
        except CommitFailedException:
            self.fail(409, "CommitFailedException")

    def told(self, table: Table) -> None:
        self.answer(
            {
                "metadata-location": table.metadata_location,
                "metadata": json.loads(table.metadata.model_dump_json()),
                "config": {},
            }
        )

    def fail(self, status: int, kind: str) -> None:
        self.answer({"error": {"message": kind, "type": kind, "code": status}}, status)

    def answer(self, body: dict, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *about) -> None:
        """Say nothing."""


@pytest.fixture
def rest_catalogue(lake, blob_directory, settings) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    about = {"py-io-impl": "exports.lake.warehouse.BlobFileIO"}
    server.catalog = StoreCatalog(NAME, uri=URL, warehouse="", **about)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    settings.ISTORE_LAKE_CATALOG_URL = f"http://127.0.0.1:{server.server_port}"
    yield settings.ISTORE_LAKE_CATALOG_URL
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_rest_catalogue_does_as_well(
    rest_catalogue, project, model, lake_schedule, make_inference, run_lake, settings
):
    settings.ISTORE_LAKE_SMALL_FILES = 2
    make_inference({"patient": "Jane Doe"}, inference_id="hers", created_at=DAY)
    schedule = lake_schedule(model)
    assert run_lake(schedule).state == "complete"
    make_inference({"patient": "John Doe"}, inference_id="his", created_at=DAY)
    run = run_lake(schedule)
    assert run.state == "complete", run.reason
    row = LakeTable.objects.get()
    assert type(open_catalog()).__name__ == "RestCatalog"
    assert upkeep.tend(row, clock.now())

    erased(project)

    assert rows_of(row, "id") == [("his",)]
