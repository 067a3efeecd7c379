"""The administration and the operator page: they open, they are safe, they act as the API."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import redis
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.urls import reverse

from exports.models import ExportTask
from inferences.maintenance import storage_by_model
from inferences.models import RegisteredModel
from inferences.store import removal
from istore.checks import operations, proxy_metrics, verification
from istore.models import AuditEntry, IdempotentCall, Membership, Role, VerifyRun
from retention.models import RetentionPolicy, RetentionTask

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def cache_of_this_test(settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    }
    cache.clear()


@pytest.fixture
def operator():
    user = get_user_model().objects.create_superuser("operator")
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    monkeypatch.setattr("istore.tasks.tracking.TrackedTask.notify", lambda task: None)
    monkeypatch.setattr("inferences.admin.notify_removals", lambda key: None)


def changelist(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


OURS = [m for m in admin.site._registry if m.__module__.split(".")[0] != "django"]


@pytest.mark.parametrize("listed", OURS, ids=lambda listed: listed.__name__)
def test_every_list_opens_and_is_searched(operator, make_inference, listed):
    make_inference(inference_id="a")
    registered = admin.site._registry[listed]

    assert operator.get(changelist(listed)).status_code == 200
    if registered.search_fields:
        assert operator.get(changelist(listed), {"q": "a"}).status_code == 200
    assert not registered.show_full_result_count


@pytest.mark.parametrize(
    "listed", [AuditEntry, VerifyRun, IdempotentCall, RetentionTask]
)
def test_what_would_break_promises_is_read_only(operator, listed):
    registered = admin.site._registry[listed]
    request = operator.get(changelist(listed)).wsgi_request

    assert not registered.has_add_permission(request)
    assert not registered.has_change_permission(request)
    assert not registered.has_delete_permission(request)


def test_first_page_shows_storage_by_model_without_inline_style_or_script(
    operator, make_inference, model
):
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=2000)
    storage_by_model.measure()

    page = operator.get(reverse("admin:index"))

    said = page.content.decode()
    assert "Storage by model" in said and "yolo-harbour" in said
    plot = said[said.index('id="storage-by-model"') :][:3000]
    assert '<rect class="value" width="100.00%"' in plot
    assert not re.search(r"<script(?! src)|style=", plot)
    assert "'unsafe-inline'" not in page.headers["Content-Security-Policy"]


def test_the_audit_log_tells_seconds(operator, project):
    AuditEntry.write("maria", "inference.protect", "a", project)

    said = operator.get(changelist(AuditEntry)).content.decode()

    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", said)


def chosen(action, ids):
    return {"action": action, "_selected_action": ids}


def test_inferences_are_protected_and_restored_by_actions(
    operator, model, make_inference
):
    rows = {name: make_inference(inference_id=name).id for name in "abc"}
    address = changelist(type(model.inferences.first()))
    address += f"?registered_model__id__exact={model.pk}"

    operator.post(address, chosen("protect", [rows["a"], rows["b"]]))
    assert model.inferences.filter(is_protected=True).count() == 2
    operator.post(address, chosen("unprotect", [rows["a"]]))
    assert model.inferences.filter(is_protected=True).count() == 1

    with transaction.atomic():
        removal.hide_records(model, model.inferences.all())
    operator.post(address, chosen("restore", [rows["a"]]))
    assert model.inferences.live().get().inference_id == "a"
    operator.post(address, chosen("remove_deleted", [rows["c"]]))
    removal.RECORDS.finish(model)
    assert not model.inferences.filter(inference_id="c").exists()
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {
        "inference.bulk_protect",
        "inference.bulk_unprotect",
        "inference.restore",
        "inference.remove_deleted",
    } <= actions


def test_policies_are_edited_as_by_the_api(operator, model):
    add = reverse("admin:retention_retentionpolicy_add")
    values = {
        "model": model.pk,
        "maximum_record_age": 48,
        "maximum_blob_age": 24,
        "delete_action": "soft",
        "automated_interval": 0,
    }
    wrong = operator.post(add, values | {"maximum_blob_age": 72})
    assert "longer than their records" in wrong.content.decode()
    assert not RetentionPolicy.objects.exists()

    operator.post(add, values)
    policy = RetentionPolicy.objects.get()
    change = reverse("admin:retention_retentionpolicy_change", args=[policy.pk])
    operator.post(change, values | {"maximum_blob_age": 12})
    policy.refresh_from_db()
    assert policy.maximum_blob_age == 12
    operator.post(changelist(RetentionPolicy), chosen("dry_run", [policy.pk]))
    task = RetentionTask.objects.get()
    assert task.dry_run
    operator.post(changelist(RetentionTask), chosen("stop", [task.pk]))
    task.refresh_from_db()
    assert task.state == "stopped"
    operator.post(
        reverse("admin:retention_retentionpolicy_delete", args=[policy.pk]),
        {"post": "yes"},
    )
    assert not RetentionPolicy.objects.exists()
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert actions == [
        "retention_policy.create",
        "retention_policy.change",
        "retention_task.create",
        "retention_task.stop",
        "retention_policy.delete",
    ]


def test_memberships_leave_audit_rows(operator, project):
    user = get_user_model().objects.create_user("anna")
    operator.post(
        reverse("admin:istore_membership_add"),
        {"user": user.pk, "project": project.pk, "role": Role.EDITOR},
    )
    membership = Membership.objects.get()
    operator.post(
        reverse("admin:istore_membership_delete", args=[membership.pk]),
        {"post": "yes"},
    )

    entries = AuditEntry.objects.order_by("id").values_list("action", "subject")
    assert list(entries) == [("member.add", "anna"), ("member.remove", "anna")]


# -- the operator page


METRICS = """# TYPE istore_proxy_recorded_total counter
istore_proxy_recorded_total 7.0
# TYPE istore_proxy_not_recorded_total counter
istore_proxy_not_recorded_total{reason="spool-full"} 2.0
# TYPE istore_proxy_answered_total counter
istore_proxy_answered_total{status="200"} 9.0
# TYPE istore_spool_bytes gauge
istore_spool_bytes 2048.0
# TYPE istore_spool_age_seconds gauge
istore_spool_age_seconds 1.5
# TYPE python_info gauge
python_info{implementation="CPython",major="3"} 1.0
"""


def test_figures_of_the_proxy_are_read(settings):
    told = proxy_metrics.read_figures(METRICS)

    assert told["recorded"] == 7
    assert told["not_recorded"] == [("spool-full", 2)]
    assert told["answered"] == [("200", 9)]
    assert (told["spool_bytes"], told["spool_age"]) == (2048, timedelta(seconds=1.5))


def test_the_operator_sees_all_panels(operator, model, make_inference, monkeypatch):
    VerifyRun.objects.create(kind=verification.VERIFY).finish(
        found={"missing": 2},
        repaired=0,
        unfinished={"consumers": "Away."},
        sample=[{"kind": "missing", "where": "1/1/x", "detail": "", "repaired": False}],
    )
    told = proxy_metrics.read_figures(METRICS)
    panel = operations.Panel("operations/_proxy.html", lambda: told)
    monkeypatch.setitem(operations.panels, "Proxy and spool", panel)
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=2000)
    storage_by_model.measure()

    page = operator.get(reverse("operations"))
    said = page.content.decode()

    assert page.status_code == 200
    for text in ("missing", "unfinished", "spool-full", "yolo-harbour", "Backlog"):
        assert text in said
    assert not re.search(r"<script(?![^>]* src=)|style=", said)


def test_a_panel_that_breaks_leaves_the_others(operator, monkeypatch):
    def away():
        raise redis.ConnectionError

    panel = operations.Panel("operations/_verify.html", away)
    monkeypatch.setitem(operations.panels, "Verify", panel)

    said = operator.get(reverse("operations")).content.decode()

    assert "It does not answer: ConnectionError." in said
    assert "None has failed." in said


def test_operations_are_for_staff(client, project):
    user = get_user_model().objects.create_user("anna")
    client.force_login(user)

    assert client.get(reverse("operations")).status_code == 403
    assert client.post(reverse("verify-now")).status_code == 403
    client.logout()
    assert client.get(reverse("operations")).status_code == 302


def test_verify_is_begun_by_a_worker(operator, monkeypatch):
    asked = []
    monkeypatch.setattr("istore.tasks.periodic.verify.delay", asked.append)

    operator.post(reverse("verify-now"))

    assert asked == ["user operator"]


def test_storage_is_measured_by_the_first_to_look(model, make_inference):
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=100)

    (bar,) = storage_by_model.by_model()["bars"]

    assert (bar.records, bar.bytes) == (1, 100)
    make_inference(inference_id="b", data_storage_key="1/1/y/input", data_size=100)
    assert storage_by_model.by_model()["bars"] == [bar]  # until the beat measures again


def test_too_much_to_measure_at_once_is_said(operator, model, monkeypatch):
    monkeypatch.setattr(storage_by_model, "FIRST_LOOK_SECONDS", 0)

    assert storage_by_model.by_model() == {
        "bars": [],
        "measured_at": None,
        "models": 0,
        "more": 0,
    }
    said = operator.get(reverse("operations")).content.decode()
    assert "too much to measure it while you wait" in said


def test_storage_is_told_by_size(model, make_inference):
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=100)
    make_inference(inference_id="b", data_size=900)  # its input is gone
    storage_by_model.measure()

    (bar,) = storage_by_model.by_model()["bars"]
    assert (bar.records, bar.bytes, bar.percent) == (2, 100, 100)


@pytest.fixture
def staff(django_user_model) -> Client:
    """Staff without any permission, in no project."""
    user = django_user_model.objects.create_user("bare", is_staff=True)
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("address", ["/admin/", "/operations", "/", "/api/v1/models"])
def test_staff_without_permissions_learn_no_name_of_a_model(
    staff, make_inference, model, address
):
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=2000)
    storage_by_model.measure()
    ExportTask.objects.create(model=model, state="failed", selection={})
    answer = staff.get(address)

    assert answer.status_code == 200
    assert "yolo-harbour" not in answer.content.decode()
    assert "harbour" not in answer.content.decode()


def test_staff_see_the_models_of_their_own_projects_and_all_by_permission(
    staff, make_inference, model
):
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=2000)
    storage_by_model.measure()
    person = User.objects.get(username="bare")
    own = Membership.objects.create(user=person, project=model.project, role="viewer")
    assert "yolo-harbour" in staff.get("/admin/").content.decode()

    own.delete()
    assert "yolo-harbour" not in staff.get("/operations").content.decode()
    permission = Permission.objects.get(codename="view_registeredmodel")
    person.user_permissions.add(permission)
    assert "yolo-harbour" in staff.get("/operations").content.decode()


def test_the_list_of_inferences_asks_for_a_model(operator, model, make_inference):
    make_inference(inference_id="a")
    address = reverse("admin:inferences_inference_changelist")
    said = operator.get(address).content.decode()
    assert "Choose a model at the side" in said and "0 inferences" not in said
    chosen = operator.get(address, {"registered_model__id__exact": model.pk})
    assert "1 inference" in chosen.content.decode()


def test_it_says_of_how_many_models_the_largest_are_shown(operator, model, monkeypatch):
    monkeypatch.setattr(storage_by_model, "SHOWN", 1)
    for name in ("a", "b"):
        RegisteredModel.objects.create(
            model_id=name, project=model.project, task_type=model.task_type
        ).inferences.count()
    cache.clear()
    told = storage_by_model.by_model()
    assert (told["models"], told["more"]) == (3, 2)
