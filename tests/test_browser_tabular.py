"""The table of a tabular model, for a person with a mouse and with keys."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from inferences.ground_truth.upsert import put_truth
from inferences.models import RegisteredModel, TaskType
from inferences.store.reading import find_inference
from tests.conftest import shot, shot_as_it_is

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/projects/harbour/models/credit/inferences"
FEATURES = (
    "age",
    "income",
    "debt_ratio",
    "months_employed",
    "open_credit_lines",
    "late_payments",
    "dependents",
    "purpose",
    "housing",
    "savings",
)
ROWS = 40


@pytest.fixture
def credit(store, project, make_inference) -> RegisteredModel:
    """A classifier of forty applications, whose features count differently."""
    model = RegisteredModel.objects.create(
        model_id="credit",
        project=project,
        task_type=TaskType.TABULAR_CLASSIFICATION,
        enable_inference_storage=True,
    )
    for number in range(ROWS):
        inputs = {
            name: round(100 * abs(math.sin(number + place)), 2)
            for place, name in enumerate(FEATURES)
        } | {"purpose": ["car", "house", "business"][number % 3]}
        shap = {
            name: round(math.sin(3 * number + place) / (place + 1), 4)
            for place, name in enumerate(FEATURES)
        }
        label, score = ("good", 0.7) if number % 3 else ("bad", 0.6)
        collection = {
            "classification": [{"label": label, "score": score}],
            "inputs": inputs,
            "shap_values": shap,
        }
        make_inference(
            {"branch": ["north", "south"][number % 2], "amount": 100 * number},
            to=model,
            inference_id=f"application-{number:02}",
            created_at=datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=number),
            data=json.dumps(collection),
            detections=[(label, score)],
        )
        if number % 4 == 0:
            put_truth("test", model, f"application-{number:02}", {"labels": ["good"]})
    return model


def names(page: Page) -> list[str]:
    return page.locator("[data-list] tr[data-id] .id a").all_inner_texts()


def columns(page: Page) -> list[str]:
    heads = page.locator("thead th[data-column]")
    return heads.evaluate_all("all => all.map(one => one.dataset.column)")


def test_a_person_sorts_by_shap_opens_a_row_and_changes_a_value(
    credit, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    page.set_viewport_size({"width": 1440, "height": 900})
    rows = page.locator("[data-list] tr[data-id]")
    expect(rows.first).to_be_visible()
    shot(page, "tabular")

    # Sorted by what a feature contributed, the highest first; a second click turns it.
    head = page.locator("th[data-column='shap.age']")
    head.get_by_role("link").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    best = max(range(ROWS), key=lambda number: math.sin(3 * number))
    expect(rows.first).to_contain_text(f"application-{best:02}")
    assert "sort=-shap.age" in page.url
    head.get_by_role("link").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    worst = min(range(ROWS), key=lambda number: math.sin(3 * number))
    expect(rows.first).to_contain_text(f"application-{worst:02}")

    # A click on the row opens the inference beside the table; J goes on as the table does.
    rows.first.locator("td.shap").first.click()
    drawer = page.locator("#drawer")
    expect(drawer).to_be_visible()
    expect(drawer).to_contain_text(f"application-{worst:02}")
    second = names(page)[1]
    page.keyboard.press("j")
    expect(drawer.locator("h1, h2").first).to_contain_text(second)
    shot(page, "tabular-drawer")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()

    # A value is changed in its cell, and taken back by one click.
    row = page.locator(f"tr[data-id='application-{worst:02}']")
    before = ["north", "south"][worst % 2]
    row.get_by_role("link", name="Change branch").click()
    field = row.get_by_role("textbox")
    expect(field).to_be_visible()
    expect(page.locator(".htmx-added")).to_have_count(0)
    expect(field).to_be_focused()
    expect(field).to_have_value(before)
    field.fill("west")
    shot(page, "tabular-edit")
    field.press("Enter")
    expect(row.locator(".cell", has_text="west")).to_be_visible()
    toast = page.locator("[data-toast]", has_text="branch is west now.")
    expect(toast).to_be_visible()
    value = find_inference(credit, f"application-{worst:02}").payload.metadata
    assert value["branch"] == ["string", "west"]
    toast.get_by_role("button", name="Undo").click()
    expect(row.locator(".cell", has_text=before)).to_be_visible()
    expect(toast).to_have_count(0)
    assert page.url.endswith("sort=shap.age")


def test_a_value_of_the_wrong_type_stays_in_the_form(
    credit, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    row = page.locator("[data-list] tr[data-id]").first
    row.locator("td", has_text="3900").dblclick()
    field = row.get_by_role("textbox")
    # The form is there before htmx has taken it over; until then Enter opens its page.
    expect(field).to_be_visible()
    expect(page.locator(".htmx-added")).to_have_count(0)
    field.fill("many")
    field.press("Enter")
    expect(row.get_by_role("alert")).to_contain_text("is not a valid int")
    expect(row.get_by_role("textbox")).to_have_value("many")
    row.get_by_role("textbox").press("Escape")
    expect(row.locator(".cell", has_text="3900")).to_be_visible()
    expect(row.locator("form.value-form")).to_have_count(0)


def test_columns_are_moved_resized_pinned_and_remembered(
    credit, watched, live_server, log_in
):
    page = watched
    page.set_viewport_size({"width": 1440, "height": 900})
    log_in(page)
    page.goto(live_server.url + LIST)
    expect(page.locator("thead .resizer").first).to_be_attached()
    assert columns(page)[:3] == ["answer", "input.age", "shap.age"]

    # By mouse: one head is dragged over another. By keys: Alt and an arrow.
    page.locator("th[data-column='shap.age'] a").drag_to(
        page.locator("th[data-column='answer']")
    )
    expect(page.locator("thead th[data-column]").first).to_have_attribute(
        "data-column", "shap.age"
    )
    assert "columns=shap.age&columns=answer" in page.url
    page.locator("th[data-column='shap.age'] a").focus()
    page.keyboard.press("Alt+ArrowRight")
    expect(page.locator("thead th[data-column]").first).to_have_attribute(
        "data-column", "answer"
    )
    expect(page.locator("th[data-column='shap.age'] a")).to_be_focused()

    # A width is kept; rows that come later have it, too.
    head = page.locator("th[data-column='shap.age']")
    width = head.bounding_box()["width"]
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert head.bounding_box()["width"] == pytest.approx(width + 32, abs=2)

    # Pinned by the menu, it stays where it is while the rest is scrolled.
    page.locator("#menu-columns summary").click()
    page.get_by_role("button", name="Keep age SHAP in sight").click()
    expect(page.locator("th.pinned")).to_have_count(1)
    page.keyboard.press("Escape")
    left = head.bounding_box()["x"]
    area = page.locator("[data-table-area]")
    area.evaluate("one => one.scrollTo({ left: 400, top: 300, behavior: 'instant' })")
    assert head.bounding_box()["x"] == pytest.approx(left, abs=2)
    # Measured at one moment: counts that come late move the whole table.
    tops = area.evaluate(
        "one => [one, one.querySelector('th.pinned')]"
        ".map(each => each.getBoundingClientRect().top)"
    )
    assert tops[1] == pytest.approx(tops[0], abs=3)
    cell = page.locator("[data-list] tr[data-id] td.pinned").nth(5)
    assert cell.bounding_box()["x"] == pytest.approx(left, abs=2)
    shot(page, "tabular-scrolled")

    # The bare address shows what was chosen, and says so.
    page.goto(live_server.url + LIST)
    expect(page.locator("th.pinned")).to_have_count(1)
    assert "pinned=shap.age" in page.url
    expect(page.locator("th[data-column='shap.age']")).to_be_visible()
    kept = page.locator("th[data-column='shap.age']").bounding_box()["width"]
    assert kept == pytest.approx(width + 32, abs=2)


def test_groups_open_what_they_count(credit, watched, live_server, log_in, findings):
    page = watched
    page.set_viewport_size({"width": 1440, "height": 900})
    log_in(page)
    page.goto(live_server.url + LIST)
    page.locator("#menu-group summary").click()
    page.locator("#menu-group").get_by_role("link", name="branch").click()
    table = page.locator("#groups table")
    expect(table).to_be_visible()
    expect(table).to_contain_text("50.0 %")
    shot(page, "tabular-groups")
    found = findings(page, "groups")
    table.get_by_role("link", name="south").click()
    expect(page).to_have_url(re.compile(r"meta\.branch"))
    expect(page.locator("[data-count]")).to_contain_text("20")
    found += findings(page, "table")
    assert not found


@pytest.mark.parametrize("width", [320, 390, 2560])
def test_the_table_fits_every_screen(
    credit, watched, live_server, log_in, findings, width
):
    page = watched
    log_in(page)
    page.set_viewport_size({"width": width, "height": 800})
    for query in ("", "?group=label", "?sort=-shap.age"):
        page.goto(f"{live_server.url}{LIST}{query}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not findings(page, query)
        shot_as_it_is(page, f"tabular-{width}{query[1:6]}")
