"""The pages of a dataset as a person uses them: gallery, drawer, splits, duplicates, downloads."""

from __future__ import annotations

import io
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from datasets import adding, lifecycle
from datasets.models import DatasetArchive
from datasets.splitting import Splitting
from datasets.tasks import run_archive_task
from exports.models import ExportTask
from exports.selections import Selection
from exports.tasks import run_export_task
from inferences.ground_truth.writes import Given, write
from istore.db.clock import now
from tests.conftest import box, shot, stored

pytestmark = pytest.mark.django_db(transaction=True)
BASE = "/projects/harbour/datasets/hard%20cases"
LIST = "/projects/harbour/models/yolo-harbour/inferences"
LABELS = ("ship", "crane", "container", "buoy", "tug")
COLOURS = ("#e8e2d0", "#c46a1c", "#5f8f4e", "#c23b3b", "#7b5ea7")
COUNT = 40


def scene(number: int) -> tuple[bytes, list[dict]]:
    """A picture of a size of its own, and what is in it."""
    chance = random.Random(number)
    size = chance.choice([(160, 120), (240, 120), (120, 160), (200, 150)])
    image = Image.new("RGB", size, f"hsl({200 + chance.randrange(30)}, 45%, 30%)")
    draw, found = ImageDraw.Draw(image), []
    for _ in range(chance.randrange(1, 4)):
        kind = min(chance.randrange(5), chance.randrange(5))
        x, y = chance.randrange(size[0] - 60), chance.randrange(size[1] - 60)
        corner = (x + chance.randrange(30, 59), y + chance.randrange(30, 59))
        draw.rectangle((x, y, *corner), fill=COLOURS[kind])
        score = round(chance.uniform(0.3, 0.99), 2)
        found.append(
            {
                "label": LABELS[kind],
                "score": score,
                "bounding_box": box(x, y, *corner),
            }
        )
    made = io.BytesIO()
    image.save(made, "PNG")
    return made.getvalue(), found


@pytest.fixture
def fleet(store, make_inference):
    """A dataset of forty scenes in two splits, some with ground truth, two of one input."""
    import hashlib

    for number in range(COUNT):
        content, found = scene(0 if number == COUNT - 1 else number)
        row = make_inference(
            {"camera": ("north", "south")[number % 2], "frame": number},
            inference_id=f"scene-{number:02}",
            created_at=datetime(2025, 7, 1, tzinfo=UTC) + timedelta(minutes=number),
            data=json.dumps({"object_detection": found}),
            data_hash=hashlib.sha256(content).digest(),
            detections=[(each["label"], each["score"]) for each in found],
            data_storage_key=stored(content),
            data_content_type="image/png",
        )
        if number % 4 == 0:
            boxes = [{"label": f["label"], **f["bounding_box"]} for f in found]
            boxes[0]["xmin"] += 6
            write(store, {row.id: Given({"boxes": boxes}, "maria", now())})
    dataset = lifecycle.create("maria", store.project, "hard cases")
    asked = {"query": "since:2025-07-01"}
    task = lifecycle.add("maria", dataset, store, Selection.from_json(asked), asked)
    adding.carry_out(task)
    shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
    dataset.refresh_from_db()
    return lifecycle.change("maria", dataset, splitting=Splitting("share", shares))


def test_the_gallery_of_a_dataset_is_that_of_the_lists(
    fleet, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(live_server.url + BASE)
    expect(page.locator("[data-count] strong")).to_have_text(str(COUNT))
    expect(page.locator("[data-list] [data-id]")).not_to_have_count(0)
    expect(page.locator("#legend a[data-class=ship]").last).to_contain_text("ship")
    expect(page.locator(".distribution rect").first).to_be_visible()
    shot(page, "set-gallery")
    # What is drawn.
    truth = page.locator(".gallery [data-truth]").first
    expect(truth).to_be_visible()
    page.get_by_label("Ground truth", exact=True).uncheck()
    expect(truth).to_be_hidden()
    page.get_by_label("Ground truth", exact=True).check()
    # One beside the list; J and K step, Escape goes back to it.
    page.locator("[data-list] [data-id] .id a").nth(1).click()
    expect(page.get_by_role("heading", name="scene-01")).to_be_visible()
    expect(page.locator("[data-drawer-place]")).to_have_text(f"2 of {COUNT}")
    expect(page.locator("[data-drawer-film] a").first).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="scene-02")).to_be_visible()
    page.keyboard.press("k")
    expect(page.get_by_role("heading", name="scene-01")).to_be_visible()
    page.keyboard.press("k")
    expect(page.get_by_role("heading", name="scene-00")).to_be_visible()
    shot(page, "set-drawer")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    # Asked by a query; what it asks for lights up.
    page.keyboard.press("/")
    page.keyboard.type("label:ship score<=0.5")
    page.keyboard.press("Enter")
    expect(page.locator(".gallery .shape.other").first).to_be_attached()
    assert "label=ship" in page.url
    shot(page, "set-query")
    # The class bar adds a label; the score is a filter when it is released.
    page.goto(f"{live_server.url}{BASE}?label=buoy")
    page.get_by_label("Least score").fill("0.8")
    expect(page.locator(".chip", has_text="score")).to_be_visible()
    assert "min_score=0.8" in page.url


def test_entries_are_moved_and_taken_out_and_put_back(
    fleet, watched, live_server, log_in
):
    lifecycle.publish("maria", fleet)
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{BASE}?q=split:test")
    before = page.locator("[data-list] [data-id]")
    expect(before.first).to_be_visible()
    count = before.count()
    names = [before.nth(n).locator(".id a").get_attribute("title") for n in range(2)]
    for n in range(2):
        before.nth(n).hover()
        page.get_by_label(f"Select {names[n]}").check()
    expect(page.locator("[data-selected-count]")).to_have_text("2 selected")
    page.get_by_label("Split", exact=True).last.select_option("train")
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.get_by_text("2 entries moved to train.")).to_be_visible()
    expect(page.locator("[data-list] [data-id]")).to_have_count(count - 2)
    page.locator("[data-list] [data-id]").first.hover()
    page.locator("[data-list] [data-id] [data-select]").first.check()
    page.get_by_role("button", name="Take out").click()
    expect(page.locator("[data-list] [data-id]")).to_have_count(count - 3)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("1 entry put back.")).to_be_visible()


def test_bars_open_what_they_count_and_versions_compare(
    fleet, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(live_server.url + BASE)
    page.get_by_role("link", name="Labels and splits").click()
    expect(page.locator(".split-column")).to_have_count(3)
    shot(page, "set-distribution")
    bar = page.locator("[data-plot] a.mark").first
    name = bar.get_attribute("aria-label").split("\n")[0]
    total = page.locator(".split-table tbody tr", has_text=name).first
    counted = total.locator("td").first.inner_text()
    bar.click()
    expect(page.locator("[data-count] strong")).to_have_text(counted)
    lifecycle.publish("maria", fleet, "the first forty")
    fleet.refresh_from_db()
    gone = fleet.entries.order_by("pk").values_list("pk", flat=True)[:3]
    lifecycle.remove_entries("maria", fleet, list(gone))
    page.get_by_role("link", name="Versions", exact=True).click()
    expect(page.get_by_text("the first forty")).to_be_visible()
    expect(page.get_by_text("3 taken out")).to_be_visible()
    shot(page, "set-versions")
    page.get_by_role("link", name="Compare with version 1").click()
    expect(page.locator(".tile", has_text="taken out")).to_contain_text("3")
    shot(page, "set-compare")


def test_one_of_equal_inputs_is_kept(fleet, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{BASE}/duplicates")
    expect(page.locator(".duplicate-card")).to_have_count(2)
    shot(page, "set-duplicates")
    page.get_by_label("Keep", exact=True).last.check()
    page.get_by_role("button", name="Keep the chosen one, take out 1").click()
    expect(page.get_by_text("1 entry taken out.")).to_be_visible()
    expect(page.get_by_role("heading", name="No duplicates")).to_be_visible()
    assert not fleet.entries.filter(inference_id="scene-00").exists()


def test_one_click_downloads_a_dataset_and_a_list(fleet, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(live_server.url + BASE)
    page.get_by_role("button", name="Download as COCO").click()
    expect(page.locator(".archive-row")).to_have_count(1)
    run_archive_task(str(DatasetArchive.objects.get().pk))
    with page.expect_download() as waiting:
        page.get_by_label("Download version 1 as coco").click()
    assert waiting.value.suggested_filename.endswith(".zip")
    shot(page, "set-downloads")
    page.goto(f"{live_server.url}{LIST}?label=buoy")
    page.locator("#menu-download summary").click()
    shot(page, "set-list-download")
    page.get_by_role("button", name="Download as COCO").first.click()
    run_export_task(str(ExportTask.objects.get().pk))
    expect(page.get_by_role("link", name="Download")).to_be_visible()


def test_the_pages_work_without_scripts(fleet, browser, live_server, log_in):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto(live_server.url + BASE)
    page.get_by_label("Query").fill("split:test")
    page.get_by_role("button", name="Search").click()
    assert "q=split%3Atest" in page.url
    page.locator("[data-list] [data-select]").first.check()
    page.get_by_role("button", name="Take out").click()
    expect(page.get_by_text("1 entry taken out.")).to_be_visible()
    page.locator("[data-list] .id a").first.click()
    expect(page.get_by_role("heading", name="Copy of")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    page.goto(f"{live_server.url}{BASE}/duplicates")
    page.get_by_role("button", name="Keep the chosen one of each group").click()
    expect(page.get_by_text("taken out.").first).to_be_visible()
    context.close()


def test_nothing_is_wrong_for_screen_readers_or_small_screens(
    fleet, watched, live_server, log_in, findings
):
    lifecycle.publish("maria", fleet)
    entry = fleet.entries.order_by("pk").first()
    pages = [
        "/projects/harbour/datasets",
        "/projects/harbour/models/yolo-harbour/datasets",
        BASE,
        f"{BASE}/versions/1",
        f"{BASE}/entries/{entry.pk}",
        *(
            f"{BASE}/{part}"
            for part in ("distribution", "versions", "compare", "duplicates")
        ),
        f"{BASE}/downloads",
        f"{BASE}/settings",
    ]
    page, found = watched, []
    log_in(page)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for address in pages:
            page.set_viewport_size({"width": 1440, "height": 900})
            page.goto(live_server.url + address)
            page.wait_for_load_state("networkidle")
            found += findings(page, f"{theme} {address}")
            if theme == "dark":
                continue
            for width in (320, 390):
                page.set_viewport_size({"width": width, "height": 700})
                wide = page.evaluate("document.documentElement.scrollWidth")
                found += [f"{address} is {wide} wide at {width}"] * (wide > width)
    shot(page, "set-settings")
    page.goto(f"{live_server.url}{BASE}/entries/{entry.pk}")
    shot(page, "set-entry")
    page.goto(f"{live_server.url}/projects/harbour/datasets")
    shot(page, "set-list")
    page.goto(f"{live_server.url}/projects/harbour/models/yolo-harbour/datasets")
    shot(page, "set-of-model")
    assert not found, "\n".join(found)
