"""The pages of scheduled exports: made, changed, run and ended by a person."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User

from exports.models import ExportSchedule, ScheduledExport
from exports.schedules import lifecycle, runner
from istore.models import Membership, Role

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/projects/harbour/models/yolo-harbour/exports/schedules"
FORM = {
    "name": "nightly",
    "query": "label:ship",
    "interval_hours": "6",
    "shape": "exploded",
    "destination": "",
    "prefix": "lake/ships",
    "from_beginning": "on",
    "enabled": "on",
}


@pytest.fixture
def person(client, project):
    def log_in(role: Role = Role.EDITOR):
        user = User.objects.create_user(f"anna-{role}", password="x")
        Membership.objects.create(user=user, project=project, role=role)
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def schedule(model):
    return lifecycle.create("anna", model, from_beginning=True, name="nightly")


def test_an_editor_makes_a_schedule(person, model):
    answer = person().post(PAGE, FORM)

    made = ExportSchedule.objects.get()
    assert answer.status_code == 302
    assert made.selection == {"query": "label:ship"}
    assert (made.shape, made.prefix, made.interval_hours) == (
        "exploded",
        "lake/ships",
        6,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"query": "label:"},
        {"interval_hours": "0"},
        {"prefix": "../up"},
        {"destination": "sea"},
        {"shape": "round"},
    ],
)
def test_what_is_wrong_is_said_beside_its_field(person, model, wrong):
    answer = person().post(PAGE, FORM | wrong)

    assert answer.status_code == 400
    assert "field-error" in answer.content.decode()
    assert not ExportSchedule.objects.exists()


def test_a_taken_place_is_said_on_the_form(person, schedule):
    answer = person().post(PAGE, FORM | {"name": "other"})

    assert answer.status_code == 400
    assert "above or below" in answer.content.decode()


def test_a_change_keeps_a_filter_that_was_not_edited(person, model, schedule):
    tree = {"filter": {"not": {"no_detections": True}}}
    lifecycle.change("anna", schedule, selection=tree)
    client = person()
    shown = client.get(f"{PAGE}/{schedule.pk}").context["form"].initial

    body = {**shown, "interval_hours": 3, "enabled": "on"}
    client.post(f"{PAGE}/{schedule.pk}", body)

    schedule.refresh_from_db()
    assert (schedule.interval_hours, schedule.selection) == (3, tree)


def test_lag_error_runs_and_files_are_shown(person, schedule, make_inference):
    make_inference()
    client = person()
    assert "not yet run" in client.get(PAGE).content.decode()
    client.post(f"{PAGE}/{schedule.pk}/run")
    runner.carry_out(ScheduledExport.objects.get())
    ExportSchedule.objects.update(last_error="The bucket <b>is</b> gone.")

    page = client.get(f"{PAGE}/{schedule.pk}").content.decode()

    assert "The bucket &lt;b&gt;is&lt;/b&gt; gone." in page
    assert "part-" in page
    assert "complete" in page
    assert "failing" in client.get(PAGE).content.decode()


def test_a_run_that_is_on_is_looked_at_again(person, schedule):
    client = person()
    client.post(f"{PAGE}/{schedule.pk}/run")

    page = client.get(f"{PAGE}/{schedule.pk}").content.decode()
    again = client.post(f"{PAGE}/{schedule.pk}/run", follow=True).content.decode()

    assert 'hx-trigger="every 2s"' in page
    assert "A run of this schedule is active" in again


def test_an_ended_schedule_is_gone(person, schedule):
    client = person()

    client.post(f"{PAGE}/{schedule.pk}/delete")

    assert client.get(f"{PAGE}/{schedule.pk}").status_code == 404


def test_a_viewer_sees_and_does_nothing(person, schedule):
    client = person(Role.VIEWER)

    assert client.get(PAGE).status_code == 200
    assert "Run now" not in client.get(f"{PAGE}/{schedule.pk}").content.decode()
    assert client.post(PAGE, FORM).status_code == 403
    assert client.post(f"{PAGE}/{schedule.pk}", FORM).status_code == 403
    assert client.post(f"{PAGE}/{schedule.pk}/run").status_code == 403
    assert client.post(f"{PAGE}/{schedule.pk}/delete").status_code == 403


def test_others_find_nothing(client, schedule):
    client.force_login(User.objects.create_user("eve"))

    assert client.get(PAGE).status_code == 404
    assert client.get(f"{PAGE}/{schedule.pk}").status_code == 404
    assert client.get(f"{PAGE}/{'-' * 36}").status_code == 404


def test_the_pages_are_accessible(page, live_server, schedule, make_inference, project):
    make_inference()
    run = lifecycle.start("anna", schedule)
    runner.carry_out(run)
    user = User.objects.create_user("anna", password="harbour-7")
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    page.goto(f"{live_server.url}/login")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("harbour-7")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{live_server.url}/")
    for address in (PAGE, f"{PAGE}/{schedule.pk}"):
        page.goto(f"{live_server.url}{address}")
        found = Axe().run(page).response["violations"]
        bad = [v["id"] for v in found if v["impact"] in ("serious", "critical")]
        assert bad == [], address
