"""The rail: beside every page, over it on a phone, and the switch to another project."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from inferences.models import RegisteredModel, TaskType
from istore.models import Membership, Project, Role
from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/projects/harbour/models/yolo-harbour/inferences"


@pytest.fixture
def airport(store) -> Project:
    airport = Project.objects.create(project_id="airport")
    maria = User.objects.get(username="maria")
    Membership.objects.create(user=maria, project=airport, role=Role.VIEWER)
    RegisteredModel.objects.create(
        model_id="runway", project=airport, task_type=TaskType.OBJECT_DETECTION
    )
    return airport


def test_a_person_goes_from_place_to_place_and_changes_the_project(
    store, airport, watched, live_server, log_in, findings
):
    page = watched
    page.emulate_media(reduced_motion="reduce")
    log_in(page)
    rail = page.get_by_role("navigation", name="Places")
    expect(rail.locator("[aria-current]")).to_have_text("Models")
    page.goto(live_server.url + LIST)
    switcher = rail.locator("summary")
    expect(switcher).to_have_text("harbour")
    rail.get_by_role("link", name="Exports").click()
    page.wait_for_url("**/exports?project=harbour")
    expect(rail.locator("[aria-current=page]")).to_have_text("Exports")

    switcher.focus()
    page.keyboard.press("Enter")
    expect(rail.get_by_role("link", name="airport")).to_be_visible()
    assert not findings(page, "the switcher")
    shot(page, "switcher")
    rail.get_by_role("link", name="airport").click()
    page.wait_for_url("**/exports?project=airport")
    rail.get_by_role("link", name="Models").click()
    expect(page.get_by_role("link", name="runway")).to_be_visible()
    expect(page.get_by_role("link", name="yolo-harbour")).to_have_count(0)
    # The pages about a project itself lie at a place of their own, traces at theirs.
    page.goto(f"{live_server.url}/projects/airport/members")
    expect(rail.locator("[aria-current]")).to_have_text("Project")
    rail.get_by_role("link", name="Traces").click()
    page.wait_for_url("**/projects/airport/traces")
    expect(rail.locator("[aria-current]")).to_have_text("Traces")
    rail.get_by_role("link", name="Project").click()
    page.wait_for_url("**/projects/airport/members")
    # Whoever may not create a project is not offered it.
    switcher.click()
    expect(rail.get_by_role("link", name="Manage projects")).to_be_visible()
    expect(rail.get_by_role("link", name="New project")).to_have_count(0)


def test_a_project_is_created_from_the_rail(store, page, live_server, log_in):
    User.objects.filter(username="maria").update(is_staff=True, is_superuser=True)
    log_in(page)
    rail = page.get_by_role("navigation", name="Places")
    rail.locator("summary").click()
    rail.get_by_role("link", name="New project").click()
    page.get_by_label("Name").fill("harbour")
    page.get_by_role("button", name="Create the project").click()
    expect(page.get_by_text("This name is taken.")).to_be_visible()
    page.get_by_label("Name").fill("north quay")
    page.get_by_role("button", name="Create the project").click()
    expect(page.get_by_text("The project north quay is there.")).to_be_visible()
    expect(rail.locator("summary")).to_have_text("north quay")
    expect(page.get_by_role("heading", name="Models / north quay")).to_be_visible()


def test_the_rail_opens_over_the_page_of_a_phone(
    store, airport, watched, live_server, log_in, findings
):
    page = watched
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 844})
    log_in(page)
    rail = page.locator("#rail")
    expect(rail).to_be_hidden()
    opener = page.get_by_role("button", name="Places")
    opener.focus()
    page.keyboard.press("Enter")
    expect(rail).to_be_visible()
    assert not findings(page, "the rail on a phone")
    shot(page, "rail")
    page.keyboard.press("Escape")
    expect(rail).to_be_hidden()
    expect(opener).to_be_focused()
    opener.click()
    rail.locator("summary").click()
    rail.get_by_role("link", name="airport").click()
    page.wait_for_url("**/?project=airport")
    expect(rail).to_be_hidden()


@pytest.mark.parametrize(("width", "low", "high"), [(1440, 60, 90), (3840, 180, 300)])
def test_the_rail_takes_little_of_a_window(
    store, page, live_server, log_in, width, low, high
):
    # The longest name, Operations, is for administrators of the installation.
    User.objects.filter(username="maria").update(is_staff=True, is_superuser=True)
    page.set_viewport_size({"width": width, "height": 900})
    log_in(page)
    assert page.locator("#rail li").count() == 7, "with the operations"
    box = page.locator("#rail").bounding_box()
    assert low < box["width"] < high
    for name in page.locator("#rail li a span").all():
        assert name.bounding_box()["height"] < 32, "a name that wraps"
    shot(page, f"rail-{width}")


def test_the_places_work_without_scripts(store, airport, browser, live_server, log_in):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    rail = page.get_by_role("navigation", name="Places")
    rail.locator("summary").click()
    rail.get_by_role("link", name="All projects").click()
    page.get_by_role("link", name="airport").click()
    expect(page.get_by_role("heading", name="Models / airport")).to_be_visible()
    page.goto(live_server.url)
    page.get_by_role("link", name="Count it").click()
    expect(page.get_by_text("inferences", exact=True).first).to_be_visible()
    context.close()
