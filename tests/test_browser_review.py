"""What a person marks, draws and selects: seen, asked for and not lost."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from inferences.models import Inference
from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/models/yolo-harbour/inferences"


def test_what_was_asked_for_is_marked(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{LIST}?max_score=0.5")
    card = page.locator(".card").first
    expect(card.locator(".labels")).to_contain_text("crane")
    expect(card.locator(".labels")).to_contain_text("0.40")
    expect(card.locator(".labels")).not_to_contain_text("ship")
    expect(card.locator(".labels")).to_contain_text("+1 other")
    expect(card.locator(".shape.other")).to_have_count(1)
    expect(card.locator(".shape:not(.other)")).to_have_count(1)
    expect(card.locator(".tag text")).to_have_text(["crane 0.40"])
    shot(page, "marked")

    card.locator(".id a").click()
    expect(page.locator("tr.match")).to_have_count(1)
    expect(page.locator("tr.match")).to_contain_text("crane")
    expect(page.locator("tr.other")).to_contain_text("ship")
    expect(page.get_by_text("1 asked for")).to_be_visible()
    shot(page, "marked-detail")


def test_without_a_question_nothing_is_marked(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    for address in (LIST, f"{LIST}?metadata=camera=north", f"{LIST}?q=NOT label:x"):
        page.goto(live_server.url + address)
        expect(page.locator(".card").first).to_contain_text("ship")
        expect(page.locator(".shape.other")).to_have_count(0)


def test_labels_have_colours_of_their_own(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    kinds = page.locator("#facet-labels .choice")
    expect(kinds).to_have_count(2)
    # The counts are asked for again by a script: what it replaces has no colour for a moment.
    page.wait_for_load_state("networkidle")
    colours = kinds.locator(".swatch").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).backgroundColor)"
    )
    assert len(set(colours)) == 2
    of_card = page.locator(".card").first.locator(".labels .swatch")
    assert sorted(colours) == sorted(
        of_card.evaluate_all(
            "all => all.map((one) => getComputedStyle(one).backgroundColor)"
        )
    )


def drawn(page: Page, server: str) -> None:
    page.goto(f"{server}{LIST}/harbour/1")
    page.get_by_role("button", name="Draw boxes").click()
    page.locator("h1").click()
    page.keyboard.press("n")
    expect(page.locator("[data-box-list] li")).to_have_count(1)


def test_boxes_that_are_not_saved_are_asked_about(store, watched, live_server, log_in):
    page, ask = watched, watched.locator("#ask")
    log_in(page)
    drawn(page, live_server.url)
    page.locator("h1").click()
    for leave in (
        lambda: page.keyboard.press("j"),
        lambda: page.keyboard.press("k"),
        lambda: page.keyboard.press("u"),
        lambda: (
            page.get_by_role("banner")
            .get_by_role("link", name="Models", exact=True)
            .click()
        ),
        lambda: page.get_by_role("button", name="Protect").click(),
    ):
        leave()
        expect(ask).to_be_visible()
        expect(ask).to_contain_text("not saved")
        page.keyboard.press("Delete")  # of the dialog, not of the box
        page.keyboard.press("Escape")
        expect(ask).to_be_hidden()
        expect(page.locator("[data-box-list] li")).to_have_count(1)
        page.locator("h1").click()
    page.keyboard.press("j")
    shot(page, "unsaved")
    ask.get_by_role("button", name="Leave without saving").click()
    expect(page.get_by_role("heading", name="harbour/0")).to_be_visible()


def test_boxes_can_be_saved_when_leaving(store, watched, live_server, log_in):
    page, ask = watched, watched.locator("#ask")
    log_in(page)
    drawn(page, live_server.url)
    page.locator("h1").click()
    page.keyboard.press("k")
    ask.get_by_role("button", name="Save them").click()
    expect(page.get_by_role("button", name="Correct the boxes")).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="harbour/0")).to_be_visible()


def test_a_form_of_another_kind_goes_on_after_the_question(
    store, watched, live_server, log_in
):
    page, ask = watched, watched.locator("#ask")
    log_in(page)
    drawn(page, live_server.url)
    page.get_by_role("button", name="Protect").click()
    ask.get_by_role("button", name="Leave without saving").click()
    expect(page.get_by_role("button", name="Stop protecting")).to_be_visible()
    assert Inference.objects.get(inference_id="harbour/1").is_protected


def test_all_but_one(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    expect(page.locator("[data-count]")).to_have_text("3 inferences")
    page.locator(".card", has_text="harbour/1").hover()  # which shows its tick
    page.get_by_role("checkbox", name="Select harbour/1").check()
    page.get_by_role("button", name="Select all 3").click()
    said = page.locator("[data-selected-count]")
    expect(said).to_have_text("All 3 selected")
    page.get_by_role("checkbox", name="Select harbour/1").uncheck()
    expect(said).to_have_text("2 selected")
    expect(page.get_by_role("checkbox", name="Select harbour/0")).to_be_checked()
    page.get_by_role("checkbox", name="Select harbour/1").check()
    expect(said).to_have_text("All 3 selected")
    page.get_by_role("checkbox", name="Select harbour/1").uncheck()
    page.get_by_role("button", name="Protect").click()
    expect(
        page.get_by_role("heading", name="Protect these 2 inferences")
    ).to_be_visible()
    shot(page, "all-but-one")
    page.get_by_role("button", name="Protect 2").click()
    expect(page.locator("[data-toast]")).to_contain_text("2 protected")
    kept = Inference.objects.filter(is_protected=True)
    assert {each.inference_id for each in kept} == {"harbour/0", "harbour/2"}
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("[data-toast]")).to_contain_text("2 no longer protected")


def test_a_bad_query_leaves_no_skeleton(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{LIST}?q=label:")
    expect(page.get_by_role("heading", name="A filter cannot be read")).to_be_visible()
    expect(page.locator(".skeleton")).to_have_count(0)
    page.goto(live_server.url + LIST)
    expect(page.locator("#volume svg")).to_be_visible()
    page.locator("#text").fill("score<")
    page.locator("#text").press("Enter")
    expect(page.get_by_role("heading", name="A filter cannot be read")).to_be_visible()
    expect(page.locator("#volume svg")).to_have_count(0)
    expect(page.locator(".skeleton")).to_have_count(0)


def test_back_keeps_the_place(store, make_inference, watched, live_server, log_in):
    for number in range(70):
        make_inference(inference_id=f"more/{number}")
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    cards = page.locator(".card")
    for loaded in (24, 48, 72):
        expect(cards).to_have_count(loaded)
        if loaded < 72:
            page.locator(".more").scroll_into_view_if_needed()
    card = cards.nth(60)
    card.scroll_into_view_if_needed()
    top = page.evaluate("scrollY")
    name = card.locator(".id a").text_content()
    assert top > 500
    card.locator(".id a").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.go_back()
    expect(cards.nth(60)).to_be_in_viewport()
    assert cards.count() >= 72
    page.wait_for_function("(top) => Math.abs(scrollY - top) < 60", arg=top)


def test_a_picture_that_is_gone_says_so(store, page, live_server, log_in):
    log_in(page)
    page.route("**/preview*", lambda route: route.fulfill(status=404, body=""))
    page.goto(live_server.url + LIST)
    expect(page.locator(".card .frame.broken .why").first).to_be_visible()
    assert (
        page.locator(".card img").first.evaluate(
            "one => getComputedStyle(one).visibility"
        )
        == "hidden"
    )


def test_long_values_stay_within_their_card(
    store, make_inference, watched, live_server, log_in
):
    long = "w" * 250
    make_inference(
        {"camera": long, "frame": 1, long: "north"},
        inference_id=long,
        data_source=long,
    )
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    expect(page.locator(".card").first).to_be_visible()
    over = page.locator(".card").evaluate_all(SEEN_BEYOND)
    assert not over


# Texts that reach beyond the edge of their card, and that nothing between clips.
SEEN_BEYOND = """cards => cards.flatMap((card) => {
  const edge = card.getBoundingClientRect().right + 1;
  const clipped = (one) => one !== card && (getComputedStyle(one).overflowX !== "visible"
    ? one.getBoundingClientRect().right <= edge : clipped(one.parentElement));
  return [...card.querySelectorAll(".said *, .foot *")].filter((one) =>
    (one.getBoundingClientRect().right > edge || one.getBoundingClientRect().left
      + one.scrollWidth > edge) && !clipped(one)).map((one) => one.outerHTML.slice(0, 60));
})"""


def test_a_term_is_completed(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    page.locator("#text").press_sequentially("has:in")
    page.get_by_role("option", name="has:input").click()
    expect(page.locator("#text")).to_have_value("has:input ")
    page.locator("#text").press_sequentially("label:")
    labels = page.get_by_role("listbox", name="Completions").get_by_role("option")
    expect(labels).to_have_text(["label:crane", "label:ship"])
