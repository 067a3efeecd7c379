"""From a list to a dataset to an archive on disk, as a person goes there."""

from __future__ import annotations

import zipfile

import pytest
from playwright.sync_api import Locator, Page, expect

from datasets import lifecycle
from datasets.models import AddingTask, DatasetArchive
from datasets.tasks import run_adding_task, run_archive_task
from inferences.models import RegisteredModel
from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/projects/harbour/models/yolo-harbour/inferences"
DATASET = "/projects/harbour/datasets/hard%20cases"


def test_all_that_match_become_a_version_that_is_downloaded(
    store, watched, live_server, log_in, tmp_path
):
    page = watched
    log_in(page)
    # Found by the panel, and looked at.
    page.get_by_role("link", name="yolo-harbour").click()
    page.locator("summary", has_text="camera").click()
    page.get_by_role("checkbox", name="north").check()
    expect(page.locator(".card")).to_have_count(2)
    page.get_by_role("link", name="harbour/2", exact=True).click()
    expect(page.get_by_role("heading", name="harbour/2")).to_be_visible()
    expect(page.locator(".shape").first).to_be_visible()
    page.go_back()
    expect(page.locator(".card")).to_have_count(2)
    page.locator(".card").first.hover()
    page.get_by_label("Select harbour/2").check()
    page.get_by_role("button", name="Select all 2").click()
    page.get_by_role("button", name="Add to dataset").click()

    expect(page.get_by_text("2 inferences").first).to_be_visible()
    shot(page, "dataset-add")
    page.get_by_label("Or a new one, named").fill("hard cases")
    page.get_by_role("button", name="Add 2 inferences").click()
    expect(page.get_by_role("heading", name="hard cases", exact=True)).to_be_visible()
    run_adding_task(str(AddingTask.objects.get().pk))
    expect(page.get_by_text("2 added")).to_be_visible()
    # What was added is there without asking for the page again.
    expect(page.locator("[data-list] [data-id]")).to_have_count(2)
    expect(page.locator("[data-count] strong")).to_have_text("2")

    page.get_by_role("link", name="Labels and splits").click()
    page.get_by_label("How").select_option("share")
    page.get_by_label("Shares").fill("train=50%, test=50%")
    page.get_by_role("button", name="Split").click()
    expect(page.get_by_text("The working version is split.")).to_be_visible()
    expect(page.locator(".split-column")).to_have_count(2)
    page.get_by_role("link", name="Versions", exact=True).click()
    page.get_by_label("What is new").fill("the first")
    page.get_by_role("button", name="Publish version 1").click()
    expect(page.get_by_text("The version is published")).to_be_visible()
    shot(page, "dataset-working")

    page.get_by_role("link", name="Downloads", exact=True).first.click()
    page.get_by_label("Format", exact=True).select_option("coco")
    page.get_by_role("button", name="Write an archive of version 1").click()
    run_archive_task(str(DatasetArchive.objects.get().pk))
    with page.expect_download() as waiting:
        page.get_by_label("Download version 1 as coco").click()
    waiting.value.save_as(tmp_path / "hard.zip")
    names = zipfile.ZipFile(tmp_path / "hard.zip").namelist()
    assert "manifest.json" in names
    assert sum(name.endswith(".png") for name in names) == 2
    shot(page, "dataset-version")

    page.get_by_role("link", name="Working").click()
    page.locator(".card").first.hover()
    page.get_by_label("Select harbour/0").check()
    page.get_by_role("button", name="Take out").click()
    expect(page.locator("[data-list] [data-id]")).to_have_count(1)
    page.get_by_role("link", name="Versions", exact=True).click()
    page.get_by_role("link", name="Compare with version 1").click()
    expect(page.locator(".tile", has_text="taken out")).to_contain_text("1")
    shot(page, "dataset-compare")
    page.goto(f"{live_server.url}/projects/harbour/datasets")
    expect(page.get_by_role("link", name="hard cases")).to_be_visible()
    shot(page, "datasets")


def test_the_same_is_done_with_the_keyboard_alone(
    store, watched, live_server, log_in, tmp_path
):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    expect(page.locator("[data-count]")).to_contain_text("3")
    page.keyboard.press("/")
    page.keyboard.type("meta.camera=north")
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(2)
    reach(page, page.get_by_role("link", name="harbour/2", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="harbour/2")).to_be_visible()
    page.wait_for_load_state()  # keys are heard when the scripts have run
    page.keyboard.press("u")
    expect(page.locator(".card")).to_have_count(2)

    expect(page.locator("[data-count]")).to_contain_text("2")
    press(page, page.get_by_role("button", name="Select all 2"))
    expect(page.locator("[data-selected-count]")).to_have_text("All 2 selected")
    press(page, page.get_by_role("button", name="Add to dataset"))
    reach(page, page.get_by_label("Or a new one, named"))
    page.keyboard.type("by key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by key", exact=True)).to_be_visible()
    run_adding_task(str(AddingTask.objects.get().pk))
    expect(page.get_by_text("2 added")).to_be_visible()
    expect(page.locator("[data-list] [data-id]")).to_have_count(2)

    # What changed is published by the way.
    press(page, page.get_by_role("button", name="Download as COCO"))
    expect(page.get_by_text("Version 1 is published")).to_be_visible()
    run_archive_task(str(DatasetArchive.objects.get().pk))
    with page.expect_download() as waiting:
        press(page, page.get_by_label("Download version 1 as"))
    waiting.value.save_as(tmp_path / "by-key.zip")
    names = zipfile.ZipFile(tmp_path / "by-key.zip").namelist()
    assert sum(name.endswith(".png") for name in names) == 2


def reach(page: Page, wanted: Locator) -> None:
    """Go on by the tabulator until it has the focus, which can be seen."""
    expect(wanted).to_be_visible()
    for _ in range(200):
        if wanted.evaluate("one => one === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(wanted).to_be_focused()
    outlines = wanted.evaluate(
        "one => ['', '::after'].map(part => getComputedStyle(one, part).outlineStyle)"
    )
    assert set(outlines) != {"none"}, "nobody sees where the focus is"


def press(page: Page, wanted: Locator) -> None:
    reach(page, wanted)
    page.keyboard.press("Enter")


def test_a_viewer_looks_and_cannot_act(store, watched, live_server, log_in):
    project = RegisteredModel.objects.get(model_id="yolo-harbour").project
    lifecycle.create("test", project, "hard cases")
    page = watched
    log_in(page, "viktor")
    page.goto(live_server.url + DATASET)
    expect(page.get_by_role("heading", name="hard cases", exact=True)).to_be_visible()
    for part in ("", "/distribution", "/versions", "/duplicates", "/downloads"):
        page.goto(live_server.url + DATASET + part)
        for name in ("Publish", "Split", "Delete", "Take out", "Download", "Keep"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
    page.goto(f"{live_server.url}/projects/harbour/datasets")
    expect(page.get_by_role("button", name="Create dataset")).to_have_count(0)
