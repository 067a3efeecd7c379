"""A person chooses inferences in the list and takes them along."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from exports.models import ExportTask
from exports.tasks import run_export_task
from exports.tests.conftest import lines_of, opened, png
from istore.models import Membership, Role

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "anchor-42"
SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}


@pytest.fixture
def list_page(page: Page, live_server, project, make_stored):
    """The list of the model, with somebody logged in."""
    user = User.objects.create_user("maria", password=PASSWORD)
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    for number in range(4):
        make_stored(png(), [SHIP], inference_id=f"harbour/{number}")
    here = "/projects/harbour/models/yolo-harbour/inferences"
    page.set_default_timeout(15_000)
    page.goto(f"{live_server.url}/login?next={here}")
    page.locator("input[name=username]").fill("maria")
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{here}*")
    return page


def accessible(page: Page) -> None:
    forms = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa"]}
    found = Axe().run(page, options={"runOnly": forms}).response["violations"]
    assert not found, [each["id"] for each in found]


def test_chosen_inferences_are_exported_and_downloaded(list_page):
    page = list_page
    for name in ("harbour/1", "harbour/3"):
        page.get_by_label(f"Select {name}", exact=True).check()
    page.locator("#selection").get_by_role("button", name="Export").click()
    expect(page.get_by_text("2 inferences").first).to_be_visible()
    accessible(page)
    page.get_by_label("NDJSON, every field").check()
    page.get_by_role("button", name="Export 2 inferences").click()

    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
    task = ExportTask.objects.get()
    run_export_task(str(task.pk))
    # The page asks by itself, and says so.
    expect(page.get_by_text("Complete.")).to_be_visible()
    accessible(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()

    assert download.value.suggested_filename == task.filename
    task.refresh_from_db()
    lines = lines_of(opened(task), "inferences.ndjson")
    assert [each["inference_id"] for each in lines] == ["harbour/1", "harbour/3"]
