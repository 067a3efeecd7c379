"""The list as the place to look: many pictures, what lights up, the drawer, and the way back."""

from __future__ import annotations

import hashlib
import io
import json
import statistics
import time
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from inferences.models import InferenceAction
from inferences.store.recording import NewInference, record
from tests.conftest import box, shot, stored

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/projects/harbour/models/yolo-harbour/inferences"
SIZES = ((320, 240), (240, 320), (300, 300), (480, 200), (400, 300))
SCREEN = {"width": 1440, "height": 900}

# The cards that are wholly on the screen, below the bar.
SEEN = """() => {
  const bar = document.querySelector("[data-list-bar]").getBoundingClientRect().bottom;
  const places = [...document.querySelectorAll(".card")].map((card) => card.getBoundingClientRect());
  return places.filter((at) => at.top >= Math.min(bar, innerHeight) - 1 && at.top < innerHeight - 40).length;
}"""


@pytest.fixture
def frames(store):
    """A hundred pictures of five shapes, each with a car and a person; and no others."""
    store.inferences.all().delete()
    content = {}
    for width, height in SIZES:
        made = io.BytesIO()
        Image.new("RGB", (width, height), "#27506e").save(made, "PNG")
        content[width, height] = made.getvalue()
    new = []
    for number in range(100):
        car = {"label": "car", "score": round(0.3 + number / 250, 3)}
        person = {"label": "person", "score": 0.9}
        car["bounding_box"] = box(20, 20, 120, 120)
        person["bounding_box"] = box(130, 40, 190, 180)
        new.append(
            NewInference(
                inference_id=f"frame-{number:03}",
                inference_action=InferenceAction.DETECT,
                data_hash=hashlib.sha256(str(number).encode()).digest(),
                created_at=datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=number),
                data=json.dumps({"object_detection": [car, person]}),
                detections=[("car", car["score"]), ("person", 0.9)],
                data_storage_key=stored(content[SIZES[number % len(SIZES)]]),
                data_content_type="image/png",
            )
        )
    record(store, new)
    return store


def open_list(page: Page, live_server, log_in, query: str = "") -> None:
    page.set_viewport_size(SCREEN)
    page.emulate_media(reduced_motion="reduce")
    log_in(page)
    page.goto(f"{live_server.url}{LIST}{query}")
    expect(page.locator("[data-count] strong")).to_be_visible(timeout=20_000)


def until(page: Page, script: str, seconds: float = 20) -> None:
    """Wait until an expression is true; the policy of the pages forbids Playwright's own wait."""
    end = time.monotonic() + seconds
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(100)


def test_a_screen_is_full_of_pictures(frames, watched, live_server, log_in, findings):
    page = watched
    open_list(page, live_server, log_in)
    expect(page.get_by_label("Since")).to_be_visible()  # the panel is open
    until(page, f"({SEEN})() >= 24")
    # Rows are even, and pictures keep their proportions but for the steps of the classes.
    tops = page.locator(".card").evaluate_all(
        "all => all.slice(0, 5).map((one) => one.getBoundingClientRect())"
        ".filter((at, _, [first]) => at.top === first.top).map((at) => at.height)"
    )
    assert len(tops) > 2 and max(tops) - min(tops) < 1
    shapes = page.locator(".card img").evaluate_all(
        "all => all.slice(0, 10).map((one) => [one.clientWidth / one.clientHeight, one.width / one.height,"
        " one.getAttribute('width') / one.getAttribute('height'), one.decoding, one.loading])"
    )
    for shown, _, own, decoding, loading in shapes:
        assert shown == pytest.approx(own, rel=0.04)
        assert (decoding, loading) == ("async", "lazy")

    page.get_by_label("Size of the pictures").fill("1")
    page.reload()
    until(page, f"({SEEN})() >= 60")
    expect(page.get_by_label("Size of the pictures")).to_have_value("1")
    shot(page, "gallery-smallest")

    # Text lies below all of them, if a person wants so.
    said = page.locator(".card .said").first
    assert said.evaluate("one => getComputedStyle(one).visibility") == "hidden"
    page.get_by_role("button", name="Text below the pictures").click()
    page.reload()
    assert said.evaluate("one => getComputedStyle(one).visibility") == "visible"

    # Header and tabs scroll away, the bar stays.
    page.get_by_label("Size of the pictures").fill("5")
    page.mouse.move(900, 600)
    page.mouse.wheel(0, 800)
    until(page, "scrollY > 300")
    expect(page.locator(".site-head")).not_to_be_in_viewport()
    assert page.locator("[data-list-bar]").bounding_box()["y"] == 0
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert not findings(page, scheme)


@pytest.mark.parametrize("view", ["gallery", "table", "patches"])
def test_count_and_views_share_a_row_beside_the_panel(
    frames, page, live_server, log_in, view
):
    open_list(page, live_server, log_in, f"?view={view}")
    expect(page.locator("[data-count]")).to_have_text("100 inferences")
    count = page.locator(".toolbar .count").bounding_box()
    views = page.get_by_role("navigation", name="View").bounding_box()
    assert views["y"] <= count["y"] <= views["y"] + views["height"]
    assert views["x"] > count["x"] + count["width"]


def test_the_first_picture_is_above_the_fold_of_a_phone(
    frames, watched, live_server, log_in
):
    page = watched
    open_list(page, live_server, log_in)
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    first = page.locator(".card").first.bounding_box()
    assert first["y"] < 844 / 2
    # The controls are one row, whose menus come up from below.
    assert page.locator(".list-bar .toolbar").bounding_box()["height"] < 48
    page.locator("summary", has_text="Newest first").click()
    menu = page.locator("#menu-sort > div").bounding_box()
    assert (menu["x"], menu["width"]) == (0, 390)
    assert menu["y"] + menu["height"] == pytest.approx(844, abs=1)
    page.keyboard.press("Escape")
    # What is done with a selection takes a sixth of the screen, all acts are reached.
    page.locator(".card [data-select]").first.check()
    assert page.locator("#selection").bounding_box()["height"] <= 844 / 6
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog").locator("form")).to_be_visible()


# Makes the list 2,000 cards long.
LENGTHEN = """() => {
  const list = document.querySelector("[data-list]");
  list.querySelector(".more")?.remove();
  const cards = [...list.querySelectorAll(".card")];
  for (let number = cards.length; number < 2000; number++) {
    list.append(cards[number % cards.length].cloneNode(true));
  }
}"""
# Scrolls, and returns the milliseconds between frames.
SCROLL = """(count) => new Promise((resolve) => {
  const frames = [];
  let before = 0;
  const step = (now) => {
    if (before) frames.push(now - before);
    before = now;
    scrollBy({ top: 60, behavior: "instant" });
    if (frames.length < count) requestAnimationFrame(step); else resolve(frames);
  };
  requestAnimationFrame(step);
})"""
FRAMES, FRAME_MS = 100, 1000 / 60


def test_two_thousand_cards_scroll_smoothly(frames, watched, live_server, log_in):
    """A frame needs less of the main thread's processor time than sixty a second leave.

    It is measured by the browser itself: how many frames come depends on what else the machine does.
    """
    page = watched
    open_list(page, live_server, log_in)
    page.evaluate(LENGTHEN)
    assert page.locator(".card").count() == 2000
    page.evaluate(SCROLL, 5)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    before = used()
    took = page.evaluate(SCROLL, FRAMES)
    each = 1000 * (used() - before) / FRAMES
    print(f"{each:.1f} ms a frame, {statistics.median(took):.0f} ms between frames")
    assert each < FRAME_MS


def test_what_was_asked_for_lights_up(frames, watched, live_server, log_in):
    page = watched
    open_list(page, live_server, log_in, "?label=car")
    card = page.locator(".card").first
    expect(card.locator(".shape.other")).to_have_count(1)
    expect(card.locator(".tag")).to_have_text("car 0.70")

    # The slider dims at once, and is the filter when it is released.
    slider = page.get_by_label("Least score")
    slider.evaluate(MOVE, 0.65)
    later = page.locator(".card", has_text="frame-080")
    dimmed = later.locator(".shape:not(.other) .line")
    assert style(dimmed, "strokeWidth") == "0.75px"
    assert style(card.locator(".shape:not(.other) .line"), "strokeWidth") == "2px"
    assert "min_score" not in page.url
    slider.evaluate(RELEASE)
    page.wait_for_url("**min_score=0.65**")
    expect(page.locator("[data-count]")).to_contain_text("12")
    expect(page.get_by_label("Query")).to_have_value("label:car score>=0.65")
    expect(page.get_by_label("Score from")).to_have_value("0.65")
    shot(page, "gallery-matches")

    # The legend hides the boxes of a label, or all others.
    car = page.get_by_role("button", name="Boxes of car")
    box_of_car = page.locator(".card").first.locator(".shape:not(.other)")
    car.click()
    expect(car).to_have_attribute("aria-pressed", "false")
    expect(box_of_car).to_be_hidden()
    car.click()
    car.click(modifiers=["Shift"])
    expect(box_of_car).to_be_visible()
    expect(page.locator(".card").first.locator(".shape.other")).to_be_hidden()


# The names that reach beyond a card which is wide enough for them.
BEYOND = """() => [...document.querySelectorAll(".card .tag rect")].filter((name) => {
  const [at, card] = [name, name.closest(".card")].map((one) => one.getBoundingClientRect());
  const isWithin = at.left >= card.left - 1 && at.right <= card.right + 1 && at.top >= card.top - 1;
  return at.width <= card.width && !isWithin;
}).length"""


def test_names_lie_within_their_cards(frames, watched, live_server, log_in):
    page = watched
    open_list(page, live_server, log_in)
    assert page.locator(".card .tag").count() > 20
    assert page.evaluate(BEYOND) == 0
    page.goto(f"{live_server.url}{LIST}?label=person&density=large")
    assert page.locator(".card .tag").count() > 10
    assert page.evaluate(BEYOND) == 0


MOVE = """(one, value) => {
  one.value = value;
  one.dispatchEvent(new Event("input", { bubbles: true }));
}"""
RELEASE = 'one => one.dispatchEvent(new Event("change", { bubbles: true }))'


def style(locator, name: str) -> str:
    return locator.evaluate(f"one => getComputedStyle(one).{name}")


def test_an_editor_gives_a_label_another_colour(
    frames, watched, live_server, log_in, findings
):
    page = watched
    open_list(page, live_server, log_in, "?label=car")
    before = style(page.locator(".card .shape:not(.other) .line").first, "stroke")
    page.get_by_label("Colours of labels").click()
    page.locator("#recolour-label").select_option("car")
    page.locator(".swatches label").nth(12).click()
    assert not findings(page, "palette")
    page.get_by_role("button", name="Recolour").click()
    expect(page.get_by_text("car has another colour")).to_be_visible()
    assert page.url.endswith("label=car")
    line = page.locator(".card .shape:not(.other) .line").first
    assert style(line, "stroke") == "rgb(242, 227, 47)" != before
    page.goto(f"{live_server.url}{LIST}/frame-003")
    expect(page.locator(".shape.hue-12")).to_have_count(1)


def test_classes_are_filters(frames, watched, live_server, log_in, browser):
    page = watched
    open_list(page, live_server, log_in)
    legend, text = page.locator("#legend li a"), page.locator("#text")
    expect(legend.filter(has_text="car")).to_contain_text("100")
    page.get_by_role("link", name="car: 100").click()
    page.wait_for_url("**label=car**")
    legend.filter(has_text="person").click(modifiers=["Shift"])
    page.wait_for_url("**label=person**")
    expect(text).to_have_value("label:[car, person]")
    legend.filter(has_text="person").click(modifiers=["Alt"])
    expect(text).to_have_value("label:[car, person] -label:person")
    expect(page.get_by_role("heading", name="No inference matches")).to_be_visible()

    # Links they are, for browsers without scripts.
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    log_in(plain)
    plain.goto(live_server.url + LIST)
    plain.locator("#legend li a", has_text="car").click()
    assert "label=car" in plain.url
    plain.locator("#legend li a", has_text="car").click()
    assert "label=car" not in plain.url
    context.close()


# Clicks on classes that come before the answer to the first of them.
AT_ONCE = """(clicks) => {
  for (const [name, key] of clicks) {
    const click = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1, [key]: true });
    document.querySelector(`#legend li a[data-class="${name}"]`).dispatchEvent(click);
  }
}"""


def test_quick_clicks_on_classes_add_up(frames, watched, live_server, log_in):
    page = watched
    open_list(page, live_server, log_in)
    text = page.locator("#text")
    page.evaluate(AT_ONCE, [["car", "shiftKey"], ["person", "shiftKey"]])
    expect(text).to_have_value("label:[car, person]")
    page.evaluate(AT_ONCE, [["car", "shiftKey"], ["person", "altKey"]])
    expect(text).to_have_value("label:person -label:person")
    assert "label=person&q=-label%3Aperson" in page.url
    page.go_back()
    expect(text).to_have_value("label:[car, person]")
    # Either side of an OR is excluded, not the last alone.
    page.goto(f"{live_server.url}{LIST}?q=label:car OR label:person")
    page.evaluate(AT_ONCE, [["car", "altKey"], ["car", "altKey"]])
    expect(page.get_by_role("heading", name="No inference matches")).to_be_visible()


def test_a_list_is_not_asked_for_over_boxes_that_are_not_saved(
    frames, watched, live_server, log_in
):
    page = watched
    open_list(page, live_server, log_in, "?label=car")
    page.locator(".card", has_text="frame-098").click()
    page.get_by_role("button", name="Begin with the answer").click()
    page.get_by_label("Label of the box").fill("tug")
    address = page.url
    keep = page.get_by_role("button", name="Keep drawing")
    person = page.locator("#legend li a", has_text="person")
    slider = page.get_by_label("Least score")

    def release() -> None:
        slider.evaluate(MOVE, 0.65)
        slider.evaluate(RELEASE)

    for ask in (
        lambda: person.click(),
        lambda: person.click(modifiers=["Shift"]),
        lambda: person.click(modifiers=["Alt"]),
        lambda: page.locator("#legend svg a").first.click(),
        release,
    ):
        ask()
        keep.click()
        expect(page.get_by_label("Label of the box")).to_have_value("tug")
        assert page.url == address
    expect(slider).to_have_value("0")
    release()
    page.get_by_role("button", name="Leave without saving").click()
    page.wait_for_url("**min_score=0.65**")
    expect(page.locator("#drawer")).to_be_hidden()


def test_the_drawer_shows_one_after_the_other_and_back_keeps_the_place(
    frames, watched, live_server, log_in, findings
):
    page = watched
    open_list(page, live_server, log_in, "?label=car")
    page.evaluate("document.querySelector('.more')?.scrollIntoView()")
    until(page, "document.querySelectorAll('.card').length >= 48")
    card = page.locator(".card", has_text="frame-069")
    card.scroll_into_view_if_needed()
    loaded, top = page.locator(".card").count(), page.evaluate("scrollY")
    card.click()
    heading = page.get_by_role("heading", level=1, name="frame-069")
    expect(heading).to_be_visible()
    assert page.url.endswith("/frame-069?label=car")
    expect(page.locator("[data-drawer-place]")).to_have_text("31 of 100")
    expect(page.locator("[data-drawer-film] [aria-current]")).to_have_count(1)
    shot(page, "drawer")
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")  # the bar hides no card
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert not findings(page, f"{scheme} drawer")

    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="frame-068")).to_be_visible()
    expect(page.locator("[data-drawer-place]")).to_have_text("32 of 100")
    page.keyboard.press("k")
    expect(heading).to_be_visible()
    page.locator("[data-drawer-film] a").first.click()
    expect(page.get_by_role("heading", name="frame-075")).to_be_visible()

    # What is done is done in it, and scripts of the page work in it.
    page.get_by_role("button", name="Protect", exact=True).click()
    expect(page.get_by_text("It is protected.")).to_be_visible()
    assert frames.inferences.get(inference_id="frame-075").is_protected
    assert page.url.endswith("/frame-075?label=car")
    page.locator("tr[data-row='0']").focus()
    expect(page.locator("#drawer .shape[data-row='0'].lit")).to_have_count(1)
    page.get_by_role("button", name="Begin with the answer").click()
    page.get_by_label("Label of the box").fill("tug")
    # Back and a step ask first while boxes are not saved.
    page.go_back()
    page.get_by_role("button", name="Keep drawing").click()
    expect(page.get_by_label("Label of the box")).to_have_value("tug")
    assert page.url.endswith("/frame-075?label=car")
    page.get_by_role("link", name="Older").click()
    page.get_by_role("button", name="Save them").click()
    expect(page.get_by_text("The ground truth is saved.")).to_be_visible()
    expect(page.get_by_text("the answer differs")).to_be_visible()

    page.go_back()
    expect(page.locator("#drawer")).to_be_hidden()
    assert page.url.endswith(f"{LIST}?label=car")
    assert page.locator(".card").count() >= loaded
    assert page.evaluate("scrollY") == pytest.approx(top, abs=300)

    # After a reload it is the whole page, and the list is there again behind it.
    page.go_forward()
    expect(page.get_by_role("heading", name="frame-075")).to_be_visible()
    page.reload()
    expect(page.locator("#drawer")).to_have_count(0)
    page.go_back()
    expect(page.locator(".card").first).to_be_visible()
    until(page, f"document.querySelectorAll('.card').length >= {loaded}")


def test_enter_opens_the_whole_page(frames, watched, live_server, log_in):
    page = watched
    open_list(page, live_server, log_in)
    page.get_by_role("link", name="frame-098").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="frame-098")).to_be_visible()
    expect(page.locator("#drawer")).to_have_count(0)
    page.go_back()
    page.locator(".card", has_text="frame-098").click()
    expect(page.locator("#drawer")).to_be_visible()
    expect(page.get_by_role("heading", name="frame-098")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.get_by_role("link", name="frame-098")).to_be_focused()
