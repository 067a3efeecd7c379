"""A panel that cannot be loaded says so where its skeleton was, and is loaded when asked again."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "/projects/harbour/models/yolo-harbour"


@pytest.mark.parametrize(
    ("address", "part", "shown"),
    [
        ("/", "**/yolo-harbour/activity", ".figures"),
        (f"{MODEL}/statistics", "**/statistics*part=labels*", "#labels-title"),
        (f"{MODEL}/quality", "**/quality*part=figures*", "h2, .empty, .notice"),
        (f"{MODEL}/inferences", "**/facets*", "#volume svg"),
    ],
)
@pytest.mark.parametrize("how", ["aborted", "a 503"])
def test_a_panel_that_fails_can_be_asked_for_again(
    store, page, live_server, log_in, findings, address, part, shown, how
):
    page.emulate_media(reduced_motion="reduce")
    log_in(page)

    def fail(route):
        route.abort() if how == "aborted" else route.fulfill(status=503, body="away")

    page.route(part, fail)
    page.goto(live_server.url + address)
    failed = page.locator(".failed-part")
    expect(failed.first).to_contain_text("This could not be loaded.")
    page.wait_for_load_state("networkidle")
    assert not findings(page, f"{address} with a panel that failed")
    shot(page, f"failed-{address.rpartition('/')[2] or 'models'}")
    page.unroute(part)
    failed.first.get_by_role("button", name="Try again").click()
    expect(failed).to_have_count(0)
    expect(page.locator(shown).first).to_be_visible()
