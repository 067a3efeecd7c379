"""The checks of this directory, where ``ISTORE_FOREIGN`` asks for them: they install
software, which takes minutes and a package index."""

from __future__ import annotations

import os

import pytest

from tests.foreign import dyff_audit, make_tables, mlserver_iris, phoenix_tables

pytestmark = pytest.mark.skipif(
    not os.environ.get("ISTORE_FOREIGN"), reason="ISTORE_FOREIGN is not set"
)


def test_the_mock_and_the_adapters_of_dyff_audit_agree_with_ours():
    assert "through our session" in dyff_audit.check()


def test_mlserver_behind_the_proxy_and_tritonclient_before_it():
    assert "passed on as they were" in mlserver_iris.check()


def test_phoenix_reads_tables_of_every_model_type():
    assert phoenix_tables.check().count("rows") == 2 * len(make_tables.SAID)
