"""Readiness and verify tell of a spool that is not captured."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest

from istore import blobs
from istore.blobs import durable_files
from istore.checks import health, verification
from istore.db.clock import now
from proxy import telemetry, waiting
from proxy.spool import spool_health
from proxy.spool.entries import Facts, SpoolEntry
from proxy.spool.frames import HEADER
from proxy.spool.spool_files import SpoolFile
from proxy.spool.writer import age_of, size_of
from proxy.tests.builders import payload, spooled


@pytest.fixture
def spool(settings, tmp_path):
    settings.ISTORE_SPOOL_DIR = tmp_path / "spool"
    settings.ISTORE_SPOOL_DIR.mkdir()
    return settings.ISTORE_SPOOL_DIR


def findings(kind: str) -> list[str]:
    looking = verification.checks["spool files"].look(verification.Scope(now()))
    return [each.where for each in looking if each.kind == kind]


def test_an_answer_that_waits_for_long_makes_readiness_degraded(spool, client, db):
    segment = spooled(spool, payload("a"))
    assert spool_health.trouble() is None
    os.utime(segment.path, (time.time() - 100,) * 2)
    assert "waits for 10" in spool_health.trouble()
    answer = client.get("/health/ready").json()
    assert answer["status"] == "degraded" and "spool" in answer["reasons"]


def test_models_that_wait_are_told_by_readiness_and_verify(spool, db):
    waiting.set_aside(spool, "1/2", [payload("a")], time.time() - 100)
    assert "blobs of 1 models cannot be put" in spool_health.trouble()
    assert findings("spool-waiting") == ["1/2"]


def test_what_was_set_aside_is_told_by_readiness_and_verify(spool, client, db):
    segment = spooled(spool, payload("a"))
    content = bytearray(segment.path.read_bytes())
    content[HEADER.size + 60] ^= 1
    segment.path.write_bytes(content)
    segment.set_aside(segment.damage())
    segment.remove()
    (found,) = findings("spool-file")
    assert found.endswith(".damaged")
    assert "1 files" in client.get("/health/ready").json()["reasons"]["spool files"]
    assert SpoolFile(spool, segment.owner, 1).size() == 0


@pytest.mark.usefixtures("blob_directory")
def test_few_inodes_or_bytes_are_told_of_blobs_and_spool(spool, monkeypatch):
    real = os.statvfs(spool)

    class Full:
        f_bavail, f_frsize = real.f_bavail, real.f_frsize
        f_files, f_favail = 10**6, 7

    monkeypatch.setattr(durable_files, "LEAST_FREE_BYTES", 0)
    monkeypatch.setattr(os, "statvfs", lambda path: Full)
    assert "7 inodes" in spool_health.trouble()
    assert "7 inodes" in health.failing(health.watched)["blobs"]
    Full.f_files, Full.f_favail = 0, 0  # a file system that has as many as it needs
    assert blobs.trouble() is None
    monkeypatch.setattr(durable_files, "LEAST_FREE_BYTES", 2**62)
    assert "MiB are free" in blobs.trouble()


def test_a_bucket_that_is_away_makes_readiness_degraded(client, db, monkeypatch):
    monkeypatch.setattr(blobs, "trouble", lambda: "The bucket 'x' does not exist.")
    answer = client.get("/health/ready").json()
    assert answer["status"] == "degraded"
    assert answer["reasons"]["blobs"] == "The bucket 'x' does not exist."


def test_a_foreign_file_is_no_answer_that_waits_and_is_named_by_verify(spool, db):
    folder = waiting.folder_of(spool, "1/2")
    folder.mkdir(parents=True)
    for path in (spool / "garbage.closed", folder / "other.open"):
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - 1000,) * 2)
    assert (size_of(spool), age_of(spool)) == (0, 0.0)
    assert spool_health.trouble() is None and not spool_health.waiting_models(spool)
    assert sorted(findings("spool-foreign")) == ["garbage.closed", "other.open"]


def facts_of_a_call(**more) -> Facts:
    return Facts(
        *("m", "x", ["a"], ["1/2/2026/01/01/00/u"]),
        *("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z"),
        *("2026-01-01T00:00:01.000000Z", 200, None, None, "application/json"),
        **more,
    )


def test_entries_that_wait_are_counted_and_the_oldest_is_known(tmp_path, monkeypatch):
    facts = facts_of_a_call()
    entry = b"".join(SpoolEntry(facts, b"{}", b"{}").pieces())
    waiting.set_aside(tmp_path, "1/2", [entry] * 3, time.time())
    waiting.set_aside(tmp_path, "1/3", [b"damaged"], time.time())
    answered_at = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC).timestamp()
    assert telemetry.waiting_entries(tmp_path) == (4, answered_at)
    monkeypatch.setattr(telemetry, "COUNTED_MOST", 1)  # the others by their mean size
    assert telemetry.waiting_entries(tmp_path)[0] in (3, 4)
    assert telemetry.waiting_entries(tmp_path / "none") == (0, None)


def test_an_entry_without_an_id_of_the_caller_is_one_that_the_last_release_reads():
    facts = facts_of_a_call()
    payload = b"".join(SpoolEntry(facts, b"{}", b"{}").pieces())
    assert b"x_request_id" not in payload
    assert b"traceparent" not in payload
    assert SpoolEntry.read(payload).facts == facts


def test_facts_of_a_release_to_come_are_left_aside():
    facts = facts_of_a_call(x_request_id="checkout-1")
    payload = b"".join(SpoolEntry(facts, b"{}", b"{}").pieces())
    more = payload.replace(
        b'"x_request_id":"checkout-1"', b'"x_request_ix":"checkout-1"'
    )
    assert SpoolEntry.read(more).facts.x_request_id == ""
