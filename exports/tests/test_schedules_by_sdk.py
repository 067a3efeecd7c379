"""The client's functions of scheduled exports against the API itself."""

from __future__ import annotations

import pytest
from inference_store import Client
from inference_store.errors import ValidationError
from inference_store.models import (
    ChangeExportScheduleRequest,
    NewExportScheduleRequest,
)

from exports.models import ScheduledExport
from exports.schedules import runner
from istore.accounts.tokens import create_token
from istore.models import Role

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "yolo-harbour"


@pytest.fixture
def schedules(live_server, project, model):
    _, secret = create_token("test", project, Role.EDITOR)
    with Client(live_server.url, secret) as client:
        yield client.export_schedule


def test_a_schedule_is_made_run_read_changed_and_ended(schedules, make_inference):
    make_inference()
    made = schedules.create_export_schedule(
        MODEL, NewExportScheduleRequest(name="lake", from_beginning=True)
    )
    begun = schedules.run_export_schedule(MODEL, made.id)
    runner.carry_out(ScheduledExport.objects.get(pk=begun.id))

    (run,) = schedules.list_scheduled_exports(MODEL, made.id)
    (file,) = schedules.list_exported_files(MODEL, made.id)
    assert (run.state, run.row_count, file.row_count) == ("complete", 1, 1)
    change = ChangeExportScheduleRequest(enabled=False)
    assert not schedules.change_export_schedule(MODEL, made.id, change).enabled
    (found,) = schedules.list_export_schedules(MODEL)
    assert (found.id, found.row_count) == (made.id, 1)
    assert schedules.get_export_schedule(MODEL, made.id).name == "lake"
    assert [each.name for each in schedules.list_export_destinations()] == [""]
    assert schedules.delete_export_schedule(MODEL, made.id) == made.id
    assert schedules.get_export_schedule(MODEL, made.id) is None


def test_what_is_wrong_is_told_by_name(schedules):
    with pytest.raises(ValidationError, match="prefix"):
        schedules.create_export_schedule(
            MODEL, NewExportScheduleRequest(name="x", prefix="../up")
        )
