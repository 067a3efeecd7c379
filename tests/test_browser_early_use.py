"""A page is used before its scripts have run: what was done by then counts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/projects/harbour/models/yolo-harbour/inferences"
ONE = f"{LIST}/harbour/1"


@pytest.fixture
def early(store, watched, live_server, log_in):
    """``early(address, "selection")``: the page, whose module waits; what lets it go on."""
    log_in(watched)

    def open_page(address: str, module: str) -> tuple[Page, Route]:
        pattern = f"**/js/{module}.js"
        routes: list[Route] = []
        watched.route(pattern, lambda route: routes.append(route))
        with watched.expect_request(pattern):
            watched.goto(live_server.url + address, wait_until="commit")
        expect(watched.locator("main")).to_be_visible()
        return watched, routes[0]

    return open_page


def test_what_was_ticked_is_selected(early):
    page, module = early(LIST, "selection")
    box = page.get_by_role("checkbox", name="Select harbour/1")
    box.check()

    module.continue_()

    expect(page.locator("[data-selected-count]")).to_have_text("1 selected")
    expect(box).to_be_checked()


def test_a_query_that_was_begun_is_completed(early):
    page, module = early(LIST, "query")
    page.get_by_label("Query").fill("la")

    module.continue_()

    expect(page.get_by_role("listbox", name="Completions")).to_contain_text("label:")


def test_a_known_key_that_was_typed_brings_its_type(early):
    page, module = early(LIST, "filters")
    row = page.locator("[data-comparison]").first
    row.get_by_label("Key").fill("frame")

    module.continue_()

    expect(row.get_by_label("Type")).to_have_value("int")


def test_a_known_key_of_the_record_brings_its_value(early):
    page, module = early(ONE, "viewer")
    page.locator("summary", has_text="Edit").click()
    page.get_by_role("combobox", name="Key").fill("camera")

    module.continue_()

    expect(page.get_by_role("textbox", name="Value")).to_have_value("south")
