import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from inferences.models import Inference, RegisteredModel
from istore.models import AuditEntry, Project
from tests import empty_tables


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("large", [False, True])
def test_what_was_committed_is_gone(make_inference, project, monkeypatch, large):
    if large:
        monkeypatch.setattr(empty_tables, "LARGE", 0)
    made = [ContentType.objects.count(), Permission.objects.count()]
    make_inference({"camera": "north"}, detections=[("ship", 0.9)])
    AuditEntry.write("test", "service.create", "s", project)
    empty_tables.empty_tables()
    for model in (Project, RegisteredModel, Inference, AuditEntry):
        assert not model.objects.exists()
    assert [ContentType.objects.count(), Permission.objects.count()] == made
    empty_tables.empty_tables()  # also where nothing is
