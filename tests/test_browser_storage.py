"""A policy from its words over its preview to the receipt of what it removed."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from django.db import connection
from playwright.sync_api import Locator, Page, expect

from retention import sweeping
from retention.models import RetentionPolicy, RetentionTask
from retention.tasks import run_retention_task
from retention.tests.builders import hours_ago, with_input
from tests.conftest import picture, shot, stored

pytestmark = pytest.mark.django_db(transaction=True)
STORAGE = "/projects/harbour/models/yolo-harbour/retention"


@pytest.fixture
def of_all_ages(store, make_inference):
    """Beside the three old ones: a heavy one, a protected one, and one of an hour ago."""

    def make(name: str, created_at: datetime, **fields) -> None:
        make_inference(
            inference_id=name,
            created_at=created_at,
            data_storage_key=stored(picture()),
            data_content_type="image/png",
            data_size=2_500_000,
            **fields,
        )

    make("heavy", datetime(2025, 6, 4, tzinfo=UTC))
    make("evidence", datetime(2025, 6, 2, tzinfo=UTC), is_protected=True)
    make("young", hours_ago(1))
    return store


def tile(within: Page | Locator, name: str) -> Locator:
    """The tile of this name."""
    named = within.page if isinstance(within, Locator) else within
    heading = named.locator(".name").get_by_text(name, exact=True)
    return within.locator(".tile").filter(has=heading)


class Held:
    """The sweep waits where it has counted its first batch, until it may go on."""

    def __init__(self, monkeypatch) -> None:
        self.reached, self.may_go_on = threading.Event(), threading.Event()
        monkeypatch.setattr(sweeping, "failpoint", self.pass_by)

    def pass_by(self, name: str) -> None:
        if name == "retention.batch_counted":
            self.reached.set()
            assert self.may_go_on.wait(60)


def worker(task: RetentionTask) -> threading.Thread:
    """Carries the task out beside the test, as a worker does."""

    def carry_out() -> None:
        try:
            run_retention_task(str(task.pk))
        finally:
            connection.close()

    thread = threading.Thread(target=carry_out)
    thread.start()
    return thread


def test_a_policy_is_previewed_saved_and_carried_out(
    of_all_ages, watched, live_server, log_in, findings, monkeypatch, settings
):
    settings.ISTORE_REMOVAL_BATCH = 2
    page, found = watched, []
    page.emulate_media(reduced_motion="reduce")
    log_in(page)
    page.goto(f"{live_server.url}/models/yolo-harbour/inferences")
    page.get_by_role("link", name="Storage").click()
    expect(page.get_by_role("heading", name="Everything is kept.")).to_be_visible()
    expect(page.get_by_role("heading", name="Nothing would be removed")).to_be_visible()

    # Ages in words; the preview beside them follows, before anything is saved.
    page.get_by_label("Delete inputs and inferences").check()
    page.get_by_label("Delete inputs after", exact=True).fill("2")
    page.get_by_label("Unit: Delete inputs after").select_option("days")
    page.get_by_label("Delete inferences after", exact=True).fill("60")
    page.get_by_label("Unit: Delete inferences after").select_option("hours")
    page.get_by_label("for good: nothing is left of them").check()
    preview = page.locator("#preview")
    expect(preview).to_contain_text("Inputs are deleted after 2 days")
    expect(preview).to_contain_text("inferences for good after 60 hours")
    expect(preview.locator(".badge", has_text="exact")).to_be_visible()
    inputs = tile(preview, "Inputs")
    expect(inputs.locator(".figure")).to_have_text("4")
    expect(inputs.locator(".note")).to_have_text("2.5 MB")
    records = tile(preview, "Inferences")
    expect(records.locator(".figure")).to_have_text("4")
    kept = tile(preview, "Protected")
    expect(kept.locator(".figure")).to_have_text("1")
    # Three went on the first of June and one on the fourth: two columns of the plot.
    days = preview.get_by_role("img", name="What would be removed, by day")
    expect(days.locator("g", has_text="2025-06-01: 3 inputs, 3")).to_have_count(1)
    expect(days.locator("g", has_text="2025-06-04: 1 input, 1 i")).to_have_count(1)
    samples = preview.locator(".samples li")
    expect(samples).to_have_count(4)
    expect(preview.locator(".samples")).not_to_contain_text("evidence")
    expect(preview.locator(".samples")).not_to_contain_text("young")
    assert not RetentionPolicy.objects.exists()
    found += findings(page, "preview")
    shot(page, "policy-preview")

    # What contradicts the rules is told, and not saved.
    page.get_by_label("Delete inputs after", exact=True).fill("9")
    expect(preview).to_contain_text("Inputs cannot be kept longer than their records.")
    page.get_by_label("Delete inputs after", exact=True).fill("2")
    expect(inputs.locator(".figure")).to_have_text("4")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The policy is saved, and counts at once.")).to_be_visible()
    page.wait_for_load_state()  # who presses before the scripts have run is not asked
    policy = RetentionPolicy.objects.get()
    assert (policy.maximum_blob_age, policy.maximum_record_age) == (48, 60)
    assert policy.delete_action == "hard"

    # A task is run and watched: the page follows it by itself.
    page.get_by_role("button", name="Carry out now").click()
    expect(page.locator("#ask")).to_contain_text("Carry out the policy now?")
    page.locator("#ask").get_by_role("button", name="Carry out now").click()
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
    at = page.url
    held = Held(monkeypatch)
    thread = worker(RetentionTask.objects.get())
    try:
        assert held.reached.wait(60)
        removed = tile(page, "Inferences removed")
        expect(page.get_by_text("Running.")).to_be_visible()
        expect(removed.locator(".figure")).to_have_text("2")
        expect(removed.locator(".note")).to_have_text("of 4")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        share = page.get_by_role("progressbar", name="Progress")
        assert 0 < float(share.get_attribute("value")) < 1
        found += findings(page, "progress")
        shot(page, "policy-progress")
    finally:
        held.may_go_on.set()
        thread.join(60)

    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    expect(page.get_by_text("Complete.")).to_be_visible()
    expect(removed.locator(".figure")).to_have_text("4")
    freed = tile(page, "Freed")
    expect(freed.locator(".figure")).to_have_text("2.5 MB")
    expect(page.get_by_text("user maria")).to_be_visible()
    assert page.url == at
    found += findings(page, "receipt")
    shot(page, "policy-receipt")
    live = of_all_ages.inferences.live()
    assert set(live.values_list("inference_id", flat=True)) == {"evidence", "young"}
    assert with_input(of_all_ages) == {"evidence", "young"}

    page.get_by_role("link", name="Storage").first.click()
    expect(page.get_by_role("region", name="Runs").locator("tbody tr")).to_have_count(1)
    assert not found


def test_a_viewer_reads_the_policy_and_changes_nothing(
    of_all_ages, watched, live_server, log_in
):
    page = watched
    log_in(page, "viktor")
    page.goto(live_server.url + STORAGE)
    expect(page.get_by_role("heading", name="Everything is kept.")).to_be_visible()
    for name in ("Save", "Dry run", "Carry out now"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("radio")).to_have_count(0)
