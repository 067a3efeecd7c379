"""Acts on a selection, in a dialog over the list: what is meant, what was done, and its undo."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from datasets.models import AddingTask
from exports.models import ExportTask
from inferences.models import Inference
from inferences.store import soft_deletion
from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/projects/harbour/models/yolo-harbour/inferences"


def test_what_is_deleted_over_the_list_comes_back_by_undo(
    store, watched, live_server, log_in, findings
):
    page = watched
    page.emulate_media(reduced_motion="reduce")
    log_in(page)
    page.goto(live_server.url + LIST)
    cards, dialog = page.locator(".card"), page.get_by_role("dialog")
    page.get_by_role("button", name="Select all 3").click()
    page.locator(".card", has_text="harbour/1").hover()
    page.get_by_role("checkbox", name="Select harbour/1").uncheck()
    page.get_by_role("button", name="Delete").click()
    expect(
        dialog.get_by_role("heading", name="Delete these 2 inferences?")
    ).to_be_visible()
    meant = dialog.get_by_role("list", name="What is meant").get_by_role("img")
    expect(meant).to_have_count(2)
    expect(meant.first).to_have_attribute("alt", "harbour/2")
    expect(
        dialog.get_by_role("radio", name="So that they can be restored")
    ).to_be_checked()
    expect(dialog.get_by_label("to confirm")).to_be_hidden()
    assert not findings(page, "deleting")
    shot(page, "act-delete")

    # Escape leaves everything as it was, and the focus where it was.
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete 2").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("2 inferences deleted.")).to_be_visible()
    expect(cards).to_have_count(1)
    expect(page.locator("[data-count]")).to_have_text("1 inference")
    expect(page.locator("[data-selected-count]")).to_have_text("Select")
    assert page.url == live_server.url + LIST

    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("2 inferences restored.")).to_be_visible()
    expect(cards).to_have_count(3)
    assert page.url == live_server.url + LIST


def test_all_that_is_selected_while_the_list_comes_anew_stays_selected(
    store, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    held = []
    page.get_by_role("button", name="Select all 3").click()
    page.get_by_role("button", name="Protect").click()
    page.get_by_role("button", name="Protect 3").click()
    expect(page.get_by_text("3 protected.")).to_be_visible()
    expect(page.locator("[data-selected-count]")).to_have_text("Select")
    page.route(live_server.url + LIST, lambda route: held.append(route))
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("3 no longer protected.")).to_be_visible()
    page.get_by_role("button", name="Select all 3").click()
    page.locator("#results").evaluate("node => node.dataset.before = 'yes'")
    for route in held:
        route.continue_()
    expect(page.locator("#results:not([data-before])")).to_be_visible()
    expect(page.locator("[data-selected-count]")).to_have_text("All 3 selected")


def test_a_form_that_is_refused_says_so_in_the_dialog(store, page, live_server, log_in):
    log_in(page)
    page.goto(live_server.url + LIST)
    page.get_by_role("button", name="Select all 3").click()
    page.get_by_role("button", name="Tag").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key").fill("seen")
    dialog.get_by_label("Type").select_option("int")
    dialog.get_by_label("Value", exact=True).fill("often")
    dialog.get_by_role("button", name="Tag 3").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    expect(dialog.get_by_label("Value", exact=True)).to_have_value("often")
    dialog.get_by_label("Value", exact=True).fill("3")
    dialog.get_by_role("button", name="Tag 3").click()
    expect(page.get_by_text("3 inferences tagged with seen.")).to_be_visible()

    # A server that does not answer is told of, too.
    page.get_by_role("button", name="Select all 3").click()
    page.route("**/selection/protect", lambda route: route.abort())
    page.get_by_role("button", name="Protect").click()
    expect(dialog.get_by_role("alert")).to_have_text("The server cannot be reached.")
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator("[data-selected-count]")).to_have_text("All 3 selected")


def test_exports_and_datasets_are_begun_over_the_list(
    store, watched, live_server, log_in
):
    page = watched
    log_in(page)
    dialog = page.get_by_role("dialog")
    for name, title in (("Export", "Export"), ("Add to dataset", "Add to dataset")):
        page.goto(live_server.url + LIST)
        page.get_by_role("button", name="Select all 3").click()
        page.get_by_role("button", name=name).click()
        expect(dialog.get_by_role("heading", name=title, exact=True)).to_be_visible()
        expect(
            dialog.get_by_role("list", name="What is meant").get_by_role("img")
        ).to_have_count(3)
        shot(page, f"act-{name.split()[0].lower()}")
        dialog.get_by_text("Cancel", exact=True).click()
        expect(dialog).to_be_hidden()
        page.get_by_role("button", name=name).click()
        if name == "Export":
            dialog.get_by_role("button", name="Export 3 inferences").click()
            page.wait_for_url("**/exports/*-*")
        else:
            dialog.get_by_label("Or a new one, named").fill("ships")
            dialog.get_by_role("button", name="Add 3 inferences").click()
            page.wait_for_url("**/datasets/ships")
    assert ExportTask.objects.count() == 1
    assert AddingTask.objects.get().dataset.name == "ships"


def test_an_act_in_the_drawer_is_done_there(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    page.locator(".card", has_text="harbour/1").click()
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name="harbour/1")).to_be_visible()
    picture = drawer.locator("[data-viewer]")
    top = picture.bounding_box()["y"]
    drawer.locator("summary", has_text="Acts").click()
    expect(drawer.get_by_role("button", name="Tag")).to_be_visible()
    assert picture.bounding_box()["y"] == top, "the menu lies over it"
    drawer.get_by_role("button", name="Tag").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key").fill("seen")
    dialog.get_by_label("Value", exact=True).fill("yes")
    dialog.get_by_role("button", name="Tag 1").click()
    expect(page.get_by_text("1 inference tagged with seen.")).to_be_visible()
    expect(drawer.get_by_role("rowheader", name="seen")).to_be_visible()

    drawer.locator("summary", has_text="Acts").click()
    drawer.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete 1").click()
    expect(page.get_by_text("1 inference deleted.")).to_be_visible()
    expect(drawer).to_be_hidden()
    expect(page.locator(".card")).to_have_count(2)
    assert soft_deletion.soft_deleted(store).get().inference_id == "harbour/1"


def test_an_act_keeps_the_place_in_a_long_list(
    store, make_inference, watched, live_server, log_in
):
    for number in range(120):
        make_inference(inference_id=f"more/{number:03}")
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    cards = page.locator(".card")
    page.locator(".more").scroll_into_view_if_needed()
    expect(page.locator(".more")).to_have_count(1)
    expect(cards.nth(40)).to_be_attached()
    loaded = cards.count()
    page.locator(".card").nth(40).hover()
    page.locator(".card [data-select]").nth(40).check()
    top = page.evaluate("scrollY")
    page.get_by_role("button", name="Protect").click()
    page.get_by_role("button", name="Protect 1").click()
    expect(page.get_by_text("1 protected.")).to_be_visible()
    expect(cards.nth(loaded - 1)).to_be_attached()
    page.wait_for_timeout(500)
    assert page.evaluate("scrollY") == pytest.approx(top, abs=40)


def test_without_scripts_an_act_is_a_page(store, browser, live_server, log_in):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto(live_server.url + LIST)
    page.get_by_role("checkbox", name="Select harbour/1").check(force=True)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete this inference?")).to_be_visible()
    page.get_by_role("button", name="Delete 1").click()
    expect(page.get_by_text("1 inference deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("1 inference restored.")).to_be_visible()
    assert Inference.objects.filter(deleted=False).count() == 4
    context.close()


def test_the_bar_of_a_selection_fits_a_phone(
    store, watched, live_server, log_in, findings
):
    page = watched
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 844})
    log_in(page)
    page.goto(live_server.url + LIST)
    expect(page.locator("[data-count]")).to_have_text("3 inferences")
    page.get_by_role("button", name="Select all 3").click()
    shot(page, "bar-of-a-selection")
    page.set_viewport_size({"width": 390, "height": 844})
    bar = page.locator(".action-bar").bounding_box()
    assert bar["height"] < 844 / 5
    assert bar["y"] + bar["height"] <= 844
    for button in page.locator(".action-bar [formaction]").all():
        box = button.bounding_box()
        assert box["width"] >= 44 and box["height"] >= 40, box
        assert button.evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    assert not findings(page, "the bar on a phone")
    shot(page, "bar-of-a-selection")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog").get_by_role("radio").first).to_be_visible()
    shot(page, "act-delete-on-a-phone")


def test_what_is_selected_is_reviewed_from_the_bar_and_erased_with_a_report(
    store, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    page.get_by_role("checkbox", name="Select harbour/1").check(force=True)
    page.get_by_role("link", name="Review").click()
    page.wait_for_url("**/review?*only=harbour%2F1*")
    page.goto(live_server.url + LIST)
    expect(page.locator("[data-selected-count]")).to_have_text("1 selected")

    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Why")).to_be_hidden()
    dialog.get_by_role("radio", name="Erase, with a report").check()
    dialog.get_by_label("to confirm").fill("1")
    dialog.get_by_label("Why").fill("Asked.")
    dialog.get_by_role("button", name="Delete 1").click()
    page.wait_for_url("**/erasures/*-*")
    expect(page.get_by_role("heading", name="Erasure of a selection")).to_be_visible()
    page.goto(live_server.url + LIST)
    # The task waits for a worker; its inference is not selected any more.
    expect(page.locator("[data-selected-count]")).to_have_text("Select")
