"""A person starts a mock with one click, calls it, and terminates it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from services import calling

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_mock_from_its_start_to_its_end(
    store, watched, live_server, log_in, findings, monkeypatch
):
    answer = calling.Called(text='[{"text": "A ship"}]', seconds=0.01, recorded="off")
    monkeypatch.setattr(calling, "call", lambda *_: answer)
    page, found = watched, []
    page.emulate_media(reduced_motion="reduce")

    def look(where: str) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found.extend(findings(page, f"{scheme} {where}"))
        page.set_viewport_size({"width": 320, "height": 640})
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 320, f"{where} is {width} pixels wide"
        page.set_viewport_size({"width": 1280, "height": 800})

    log_in(page)
    page.get_by_role("link", name="Services").first.click()
    look("services")
    page.get_by_role("button", name="Text completion").click()
    expect(page.locator("#secret")).to_have_text(re.compile("^iss_"))
    look("a service")
    page.get_by_role("button", name="Call generate").click()
    expect(page.locator("#answer")).to_contain_text("A ship")
    look("an answer")
    page.wait_for_load_state()  # who presses before the scripts have run is not asked
    page.get_by_role("button", name=re.compile("^Terminate")).click()
    expect(page.locator("#ask")).to_contain_text("Terminate this session?")
    look("a question")
    page.locator("#ask").get_by_role("button", name="Terminate").click()
    expect(page.locator("#sessions")).to_contain_text("Terminated")
    page.goto(f"{live_server.url}/services/new")
    page.get_by_label("Name", exact=True).fill("Assistant")
    page.get_by_label("URL").fill("http://127.0.0.1:9")
    look("a new service")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#sessions")).to_contain_text("Created")
    expect(page.locator("#sessions")).to_have_attribute("hx-trigger", "every 2s")
    assert not found
