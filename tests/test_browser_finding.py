"""Go anywhere by a few letters, and complete a value, for a person with a keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_palette_opens_anywhere_and_goes_where_it_is_told(
    store, watched, live_server, log_in, findings
):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/models/wine/inferences")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Find")
    expect(palette).to_be_visible()
    palette.get_by_role("combobox").fill("yolo")
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()
    page.keyboard.press("Control+k")
    palette.get_by_role("combobox").fill("yolo")
    expect(palette.locator(".is-chosen")).to_contain_text("yolo-harbour")
    assert findings(page, "palette") == []
    shot(page, "palette")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("yolo-harbour/inferences"))

    # An inference by its id, from wherever one is.
    page.keyboard.press("Meta+k")
    palette.get_by_role("combobox").fill("harbour/1")
    expect(palette.get_by_text("of yolo-harbour")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="harbour/1")).to_be_visible()
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()


def test_a_value_is_completed_with_its_count(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/models/yolo-harbour/inferences")
    query = page.locator("[data-query]").first
    query.press_sequentially("meta.camera=n")
    offer = page.get_by_role("option", name="meta.camera=north")
    expect(offer).to_contain_text("2")
    query.press("ArrowDown")
    query.press("Enter")
    expect(query).to_have_value("meta.camera=north ")
    query.press("Enter")
    expect(page.locator(".card")).to_have_count(2)
