"""Web servers with different keys are told of."""

from __future__ import annotations

from istore.checks import shared_secrets


def test_another_key_is_told_of_until_it_is_gone(settings, monkeypatch):
    client = shared_secrets.connect(settings.ISTORE_REDIS_URL)
    client.delete(shared_secrets.KEY)
    assert shared_secrets.differ() is None
    assert shared_secrets.differ() is None

    settings.ISTORE_SIGNING_KEY = "another"
    assert "ISTORE_SIGNING_KEY" in shared_secrets.differ()
    client.zadd(
        shared_secrets.KEY, dict.fromkeys(client.zrange(shared_secrets.KEY, 0, -1), 0)
    )
    assert shared_secrets.differ() is None
