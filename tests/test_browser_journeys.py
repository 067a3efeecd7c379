"""Whole journeys of a person: by mouse, by keyboard, with a link, without the right."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from inferences.models.ground_truth import GroundTruth
from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/projects/harbour/models/yolo-harbour/inferences"


def test_a_person_narrows_by_dragging_and_picking(store, watched, live_server, log_in):
    """Panel, text and address say one thing, whichever was used."""
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    cards, text = page.locator(".card"), page.get_by_label("Query")
    expect(cards).to_have_count(3)

    # A value of a key: the counts come, one is picked, the text says so.
    page.locator("summary", has_text="camera").click()
    north = page.get_by_role("checkbox", name="north")
    expect(page.locator("label.choice", has_text="north")).to_contain_text("2")
    north.check()
    expect(cards).to_have_count(2)
    expect(text).to_have_value('meta.camera="north"')

    # The histogram of scores: its right half is drawn over.
    drag(page, page.locator("#facet-scores .area"), 0.75, 1)
    expect(page.get_by_label("Score from")).to_have_value("0.75")
    expect(text).to_have_value('meta.camera="north" score>=0.75 score<=1')
    expect(north).to_be_checked()
    expect(north).to_be_visible()

    # In words: the panel follows.
    text.fill("meta.camera=south label:crane")
    text.press("Enter")
    expect(cards).to_have_count(1)
    expect(page.get_by_role("checkbox", name="crane")).to_be_checked()
    expect(page.get_by_label("Score from")).to_have_value("")
    page.go_back()
    expect(cards).to_have_count(2)
    expect(page.get_by_label("Score from")).to_have_value("0.75")

    # A window: dragged on the volume, then a preset instead.
    drag(page, page.locator("#volume .area"), 0, 0.5)
    expect(page.get_by_label("Since")).not_to_have_value("")
    page.locator("label", has_text="24 hours").click()
    expect(page.get_by_role("heading", name="No inference matches")).to_be_visible()
    expect(page.get_by_label("Since")).to_have_value("")
    assert "since=24h" in page.url


def drag(page: Page, histogram, start: float, end: float) -> None:
    page.wait_for_load_state("networkidle")  # the bars are replaced with the list
    histogram.scroll_into_view_if_needed()
    box = histogram.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * start, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * end, y, steps=5)
    page.mouse.up()


def test_a_person_selects_all_that_match_and_acts(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{LIST}?metadata=camera:string=north")
    expect(page.locator(".card")).to_have_count(2)
    page.locator(".card").first.hover()
    page.get_by_label("Select harbour/2").check()
    expect(page.locator("[data-selected-count]")).to_have_text("1 selected")

    # What was selected stays so under another filter.
    page.get_by_role("link", name="Remove the filter camera").click()
    expect(page.locator(".card")).to_have_count(3)
    expect(page.get_by_label("Select harbour/2")).to_be_checked()
    expect(page.locator("[data-selected-count]")).to_have_text("1 selected")
    page.go_back()
    expect(page.locator(".card")).to_have_count(2)

    page.get_by_role("button", name="Select all 2").click()
    expect(page.locator("[data-selected-count]")).to_have_text("All 2 selected")
    page.get_by_role("button", name="Protect").click()
    expect(page.get_by_role("dialog")).to_contain_text("these 2 inferences")
    page.get_by_role("button", name="Protect 2").click()
    expect(page.get_by_text("2 protected.")).to_be_visible()
    assert store.inferences.filter(is_protected=True).count() == 2
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("2 no longer protected.")).to_be_visible()
    assert store.inferences.filter(is_protected=True).count() == 0

    # Removal for good wants the number.
    page.get_by_role("button", name="Select all 2").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("radio", name="For good").check()
    page.get_by_label("type 2 to confirm").fill("2")
    page.get_by_role("button", name="Delete 2").click()
    expect(page.get_by_text("2 inferences deleted for good.")).to_be_visible()
    assert store.inferences.live().count() == 1


def test_what_was_done_is_taken_back_from_its_toast(
    store, watched, live_server, log_in, findings
):
    page = watched
    page.emulate_media(reduced_motion="reduce")
    log_in(page)
    page.goto(live_server.url + LIST)
    page.get_by_role("button", name="Select all 3").click()
    page.get_by_role("button", name="Tag").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key", exact=True).fill("reviewed")
    dialog.get_by_label("Value", exact=True).fill("yes")
    page.get_by_role("button", name="Tag 3").click()
    expect(page.get_by_text("3 inferences tagged with reviewed.")).to_be_visible()
    assert not findings(page, "a toast")
    shot(page, "undo-tag")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("3 inferences as before the tag.")).to_be_visible()
    expect(page).to_have_url(live_server.url + LIST)

    # Beside each other by their score, as the list was; and one value is changed.
    page.goto(f"{live_server.url}{LIST}/harbour/1?sort=score")
    expect(page.get_by_role("link", name="Previous")).to_have_attribute(
        "href", f"{LIST}/harbour/2?sort=score"
    )
    page.locator("summary", has_text="Edit").click()
    page.get_by_role("combobox", name="Key").fill("camera")
    page.get_by_role("textbox", name="Value").fill("west of the lock, seen from above")
    page.locator("[data-metadata-form]").get_by_role("button", name="Save").click()
    expect(page.get_by_text("camera is west of the lock")).to_be_visible()
    shot(page, "undo-metadata")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("camera is south now.")).to_be_visible()
    assert page.url.endswith("/harbour/1?sort=score")


def test_a_box_is_corrected_by_mouse_and_by_keyboard(
    store, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{LIST}/harbour/1")
    page.get_by_role("button", name="Begin with the answer").click()
    boxes = page.get_by_label("Boxes").get_by_role("button")
    expect(boxes).to_have_count(2)

    def at(x: float, y: float) -> tuple[float, float]:
        layer = page.locator(".correction").bounding_box()
        return (
            layer["x"] + x * layer["width"] / 160,
            layer["y"] + y * layer["height"] / 120,
        )

    # The crane is chosen and its lower right corner drawn in.
    boxes.nth(1).click()
    page.locator(".correction").scroll_into_view_if_needed()
    page.mouse.move(*at(150, 110))
    page.mouse.down()
    page.mouse.move(*at(140, 90), steps=4)
    page.mouse.up()
    # The ship goes, and a new box comes, all by keys.
    boxes.nth(0).focus()
    page.keyboard.press("Delete")
    expect(boxes).to_have_count(1)
    page.keyboard.press("n")
    page.keyboard.press("ArrowRight")
    page.get_by_label("Label of the box").fill("tug")
    page.get_by_role("button", name="Save").first.click()
    expect(page.get_by_text("The ground truth is saved.")).to_be_visible()
    crane, tug = GroundTruth.objects.get().truth["boxes"]
    assert crane["label"] == "crane"
    assert crane["xmax"] == pytest.approx(140, abs=1.5)
    assert crane["ymax"] == pytest.approx(90, abs=1.5)
    assert crane["xmin"] == pytest.approx(100, abs=0.5)
    assert tug["label"] == "tug"
    assert tug["xmin"] == pytest.approx(64 + 1.6, abs=0.2)
    expect(page.locator(".truth .line")).to_have_count(2)
    expect(page.get_by_text("the answer differs")).to_be_visible()


def test_a_person_works_with_the_keyboard_alone(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    expect(page.locator("[data-count]")).to_contain_text("3")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Query")).to_be_focused()
    page.keyboard.type("label:cr")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Query")).to_have_value("label:crane ")
    page.keyboard.press("Enter")
    page.wait_for_url("**label=crane**")
    expect(page.locator(".card")).to_have_count(3)
    # Focus is where it was, over the swap.
    expect(page.get_by_label("Query")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_label("Select harbour/1")).to_be_checked()
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    expect(page.locator("[data-selected-count]")).to_have_text("2 selected")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="harbour/0")).to_be_visible()
    page.wait_for_load_state()  # keys are heard when the scripts have run
    page.keyboard.press("k")
    expect(page.get_by_role("heading", name="harbour/1")).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press("+")
    expect(page.locator("[data-zoom-said]")).to_have_text("150 %")
    page.keyboard.press("o")
    expect(page.locator("[data-answer]").first).to_be_hidden()
    page.keyboard.press("u")
    page.wait_for_url("**/inferences?label=crane")


def test_a_link_shows_another_person_the_same_and_lets_a_viewer_only_look(
    store, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{LIST}?label=ship&view=table&density=compact")
    page.locator("summary", has_text="Columns").click()
    page.get_by_role("checkbox", name="camera", exact=True).uncheck()
    page.wait_for_url("**columns=meta.frame**")
    expect(page.locator("th", has_text="frame")).to_be_visible()
    link = page.url
    page.locator("summary", has_text="Views").click()
    page.get_by_label("Save this view as").fill("Ships")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The view Ships is saved.")).to_be_visible()
    rows = page.locator(".listing tbody [data-id]").all_inner_texts()

    page.context.clear_cookies()
    log_in(page, "viktor")
    page.goto(link)
    expect(page.locator("th", has_text="frame")).to_be_visible()
    assert page.locator(".listing tbody [data-id]").all_inner_texts() == rows
    page.locator("summary", has_text="Views").click()
    expect(page.get_by_role("link", name="Ships")).to_be_visible()
    for name in ("Protect", "Delete", "Tag", "Export", "Save"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    page.goto(f"{live_server.url}{LIST}/harbour/1")
    expect(page.get_by_role("heading", name="Ground truth")).to_be_visible()
    expect(page.get_by_role("button", name="Begin with the answer")).to_have_count(0)


def test_the_list_goes_on_by_itself_and_lives(
    store, watched, live_server, log_in, make_inference, monkeypatch
):
    from inferences.web import browsing

    monkeypatch.setitem(browsing.PAGE_SIZES, "table", 2)
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{LIST}?view=table")
    expect(page.locator(".listing [data-id]")).to_have_count(3)
    page.get_by_role("button", name="Live").click()
    expect(page.get_by_role("button", name="Live")).to_have_attribute(
        "aria-pressed", "true"
    )
    at = datetime(2025, 6, 1, 2, 0, 1, tzinfo=UTC)
    make_inference(inference_id="harbour/new", created_at=at)
    shown = page.locator(".listing [data-id]")
    expect(shown).to_have_count(4)
    expect(shown.first).to_contain_text("harbour/new")
    # Once, however often it is asked for.
    page.wait_for_timeout(3500)
    expect(shown).to_have_count(4)


def test_what_opens_can_be_used_by_everyone(
    store, watched, live_server, log_in, findings
):
    """Menus, facets, dialogs, confirmations and the editor of boxes, in both themes."""
    page, found = watched, []
    page.emulate_media(reduced_motion="reduce")

    def look(where: str) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found.extend(findings(page, f"{scheme} {where}"))

    log_in(page)
    page.goto(live_server.url + LIST)
    for facet in ("camera", "frame", "Action", "Ground truth", "Location"):
        page.locator("[data-filters] summary", has_text=facet).first.click()
    page.wait_for_load_state("networkidle")
    look("facets")
    for menu in ("Views", "Newest first", "Columns"):
        page.locator("summary", has_text=menu).click()
        look(menu)
        page.locator("summary", has_text=menu).click()
    page.get_by_label("Query").fill("la")
    page.get_by_label("Query").press("ArrowDown")
    look("completion")
    page.keyboard.press("Escape")
    page.get_by_label("Query").blur()
    page.keyboard.press("?")
    look("shortcuts")
    page.keyboard.press("Escape")
    for action in ("Protect", "Tag", "Delete", "Export", "Add to dataset"):
        page.goto(live_server.url + LIST)
        page.get_by_role("button", name="Select all 3").click()
        page.get_by_role("button", name=action).click()
        expect(page.get_by_role("dialog").locator("form")).to_be_visible()
        look(action)
    page.goto(f"{live_server.url}{LIST}/harbour/1")
    page.get_by_role("button", name="Begin with the answer").click()
    look("editor")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(live_server.url + LIST)
    page.wait_for_load_state("networkidle")
    look("phone")
    assert not found


def test_a_place_is_drawn_on_the_map(
    store, watched, live_server, log_in, make_inference
):
    make_inference(inference_id="placed", latitude=51.95, longitude=4.14)
    make_inference(inference_id="far", latitude=1.2, longitude=103.8)
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    page.locator("summary", has_text="Location").click()
    expect(page.locator("[data-map-said]")).to_have_text("2 places")
    page.get_by_role("button", name="Rectangle").click()
    chart = page.locator("[data-map] svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 4, steps=4)
    page.mouse.up()
    expect(page.locator(".card")).to_have_count(1)
    expect(page.get_by_role("link", name="placed", exact=True)).to_be_visible()
    expect(page.get_by_label("Query")).to_have_value(re.compile(r"^within:"))
