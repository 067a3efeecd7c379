"""A person at work: logs in, looks, filters, opens, all under the policy of the pages."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from istore.models import Membership, Project, Role
from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "anchor-42"


def test_a_person_finds_an_inference(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.get_by_role("link", name="yolo-harbour").click()
    cards = page.locator(".card")
    expect(cards).to_have_count(3)
    expect(page.get_by_role("status").filter(has_text="inference")).to_have_text(
        "3 inferences"
    )

    # The boxes lie where the answer says, over a picture that was decoded.
    image = cards.first.locator("img")
    assert image.evaluate("one => one.decode().then(() => one.naturalWidth)") == 160
    frame, ship = image.bounding_box(), cards.first.locator(".line").last.bounding_box()
    assert (ship["x"] - frame["x"]) / frame["width"] == pytest.approx(
        20 / 160, abs=0.02
    )
    assert ship["width"] / frame["width"] == pytest.approx(70 / 160, abs=0.02)

    # Filtering swaps the list, and the address says what is seen.
    row = page.locator("[data-comparison]").first
    row.get_by_label("Key").fill("camera")
    row.get_by_label("Value", exact=True).fill("south")
    row.get_by_label("Value", exact=True).press("Enter")
    expect(cards).to_have_count(1)
    assert "metadata=camera%3Astring%3Dsouth" in page.url
    page.reload()
    expect(cards).to_have_count(1)
    page.get_by_role("link", name="Remove the filter camera = south").click()
    expect(cards).to_have_count(3)
    page.go_back()
    expect(cards).to_have_count(1)
    page.go_forward()
    expect(cards).to_have_count(3)
    page.get_by_role("link", name="Table").click()
    expect(page.locator(".listing tbody tr")).to_have_count(3)

    # The detail, by keyboard: row and box light up together.
    page.get_by_role("link", name="harbour/2").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="harbour/2")).to_be_visible()
    page.locator("tr[data-row='0']").focus()
    expect(page.locator(".shape[data-row='0']")).to_have_class(
        "shape hue-" + hue(page) + " lit"
    )
    page.get_by_label("Score ≥").fill("0.5")
    expect(page.locator(".shape[data-row='1']")).to_be_hidden()
    expect(page.locator("[data-found-count]")).to_have_text("1 of 2")
    page.locator("h1").click()
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="harbour/1")).to_be_visible()


def hue(page: Page) -> str:
    names = page.locator(".shape[data-row='0']").get_attribute("class")
    return next(name for name in names.split() if name.startswith("hue-"))[4:]


def test_a_wrong_filter_is_told_and_put_right(store, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/models/yolo-harbour/inferences")
    page.get_by_label("Score from").fill("high")
    page.get_by_label("Score from").press("Enter")
    expect(page.locator("#error-min_score")).to_have_text("Enter a number.")
    page.get_by_label("Score from").fill("0.5")
    page.get_by_label("Score from").press("Enter")
    expect(page.locator("#error-min_score")).to_be_empty()
    expect(page.locator(".card")).to_have_count(3)


def test_the_theme_is_switched_and_stays(store, watched, live_server, log_in):
    page = watched
    page.emulate_media(color_scheme="light")
    log_in(page)
    bright = background(page)
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert background(page) != bright
    page.goto(f"{live_server.url}/models/wine/inferences")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_pages_work_without_scripts(store, browser, live_server, log_in):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto(f"{live_server.url}/models/yolo-harbour/inferences")
    row = page.locator("[data-comparison]").first
    row.get_by_label("Key").fill("frame")
    row.get_by_label("Type").select_option("int")
    row.get_by_label("Comparison", exact=True).select_option(">=")
    row.get_by_label("Value", exact=True).fill("1")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".card")).to_have_count(2)
    assert page.url.endswith("/inferences?metadata=frame%3Aint%3E%3D1")

    # What each filter would leave is counted when it is asked for, and goes on being.
    page.get_by_role("link", name="Count what each filter would leave").click()
    ship = page.locator("#facet-labels .choice", has_text="ship")
    expect(ship).to_contain_text("2")
    expect(page.get_by_role("group", name="Volume over time")).to_be_visible()
    ship.get_by_role("checkbox").check()
    page.get_by_role("button", name="Apply").click()
    assert "label=ship" in page.url and page.url.endswith("counts=true")
    expect(page.locator(".card")).to_have_count(2)
    shot(page, "browse-without-scripts")

    # Figures are tables and drawings of the server, two sets beside each other as well.
    page.get_by_role("link", name="Statistics").click()
    expect(page.locator(".skeleton")).to_have_count(4)
    page.get_by_role("link", name="Count them").click()
    expect(page.locator(".skeleton")).to_have_count(0)
    labels = page.get_by_role("region", name="Labels")
    expect(labels.locator("tbody tr", has_text="ship")).to_contain_text("2")
    page.get_by_label("Compare with").fill("meta.camera=south")
    page.get_by_label("And a metadata key").select_option("frame:int")
    page.get_by_role("button", name="Show").click()
    volume = page.get_by_role("region", name="Volume")
    expect(volume.get_by_role("group", name="Inferences over time")).to_be_visible()
    expect(volume.get_by_role("listitem")).to_have_text(["A", "B"])
    scores = page.get_by_role("group", name="How scores are distributed")
    expect(scores).to_have_count(1)
    expect(page.get_by_role("heading", name="frame")).to_be_visible()
    shot(page, "statistics-without-scripts")
    context.close()


def test_a_stranger_sees_nothing_of_it(store, watched, live_server, log_in):
    airport = Project.objects.create(project_id="airport")
    user = User.objects.create_user("igor", password=PASSWORD)
    Membership.objects.create(user=user, project=airport, role=Role.VIEWER)
    page = watched
    page.goto(f"{live_server.url}/login")
    page.get_by_label("User name").fill("igor")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="airport")).to_be_visible()
    expect(page.get_by_text("yolo-harbour")).to_have_count(0)
