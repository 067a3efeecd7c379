"""Plots, for a person with a mouse, with keys, and with a finger."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_plot_is_read_by_mouse_and_by_keys(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/models/yolo-harbour/statistics")
    scores = page.get_by_role("region", name="Scores").locator("[data-plot]").first
    mark = scores.locator("a[data-mark]").first
    mark.hover()
    tip = page.locator(".graph-tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("score")
    expect(tip).to_contain_text("%")

    # One stop of Tab, and arrows within.
    stops = scores.locator("[data-mark][tabindex='0']")
    expect(stops).to_have_count(1)
    stops.focus()
    page.keyboard.press("End")
    last = scores.locator("[data-mark]").last
    expect(last).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(scores.locator("[data-mark]").nth(-2)).to_be_focused()
    expect(stops).to_have_count(1)

    # A bin opens what it counts.
    mark.click()
    expect(page).to_have_url(re.compile(r"/inferences\?"))
    expect(page.locator(".card").first).to_be_visible()


def test_a_stretch_that_is_drawn_becomes_the_filter(
    store, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/models/yolo-harbour/statistics")
    area = page.get_by_role("region", name="Scores").locator(".area").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, y, steps=4)
    page.mouse.move(box["x"] + box["width"], y, steps=4)
    with page.expect_navigation():
        page.mouse.up()
    written = page.get_by_label("Of what").input_value()
    assert "score>=0.5" in written.replace("0.49", "0.5").replace("0.50", "0.5")
    assert "score<=1" in written
