"""An address of programs that a person opens, or of the proxy that a program asks here, says so."""

from __future__ import annotations

import pytest

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v2/models/a/infer"])
def test_who_calls_a_model_here_is_told_of_the_proxy(client, settings, path):
    told = client.post(path, {}, content_type="application/json")
    assert told.status_code == 404
    assert told["Content-Type"] == "application/problem+json"
    assert settings.ISTORE_PROXY_URL in told.json()["detail"]
    page = client.get(path, headers=BROWSER)
    assert page.status_code == 404
    assert settings.ISTORE_PROXY_URL in page.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status"), [("/api/v1/nothing", 404), ("/v1/traces", 405)]
)
def test_a_browser_gets_a_page_at_an_address_of_programs(client, path, status):
    page = client.get(path, headers=BROWSER)
    assert page.status_code == status
    assert page["Content-Type"].startswith("text/html")
    assert "This address is for programs" in page.content.decode()
    told = client.get(path)
    assert told["Content-Type"] == "application/problem+json"
