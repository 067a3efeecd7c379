"""The same, with the blobs in an object store: markers are fetched many at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto import mock_aws

from ingest.reconciling import reconcile
from ingest.stream import Lag
from ingest.tests.builders import capture
from istore import blobs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def bucket(settings):
    options = {
        "bucket_name": "inferences",
        "access_key": "test",
        "secret_key": "test",
        "region_name": "eu-west-1",
        "file_overwrite": True,
        "default_acl": None,
        "signature_version": "s3v4",
    }
    storage = {"BACKEND": "istore.blobs.s3_storage.S3Storage", "OPTIONS": options}
    with mock_aws():
        boto3.client(
            "s3",
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        ).create_bucket(
            Bucket="inferences",
            CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
        )
        settings.STORAGES = {**settings.STORAGES, "default": storage}
        yield


def test_many_markers_are_fetched_and_keep_their_order(model, deliver, stream):
    events = [capture(model, f"{n:03}") for n in range(100)]
    blobs.delete([events[7].metadata_storage_key])

    deliver(*events)

    assert model.inferences.count() == 99
    assert not model.inferences.filter(inference_id="007").exists()
    assert stream.lag() == Lag(0, 1)


def test_an_answer_beside_the_marker_is_fetched_and_copies_go(model, deliver):
    first, copy = (capture(model, "a", inline=False) for _ in range(2))

    deliver(first)
    deliver(copy)

    folder = copy.metadata_storage_key.rpartition("/")[0]
    assert model.inferences.count() == 1
    assert blobs.listed(folder) == ([], [])
    assert blobs.size(first.metadata_storage_key)


def test_markers_are_reconciled(model, stream, listener):
    at = datetime.now(UTC) - timedelta(hours=2)
    for name in ("a", "b"):
        capture(model, name, received_at=at, published_at=at)

    assert reconcile(stream) == 2
    listener.step(block_ms=1)

    assert model.inferences.count() == 2
    assert reconcile(stream) == 0
