"""The store of the tests of a proxy commits; the tests after it must not meet its rows."""

import pytest

from istore.models import AuditEntry, Project
from proxy.tests.conftest import Store


@pytest.mark.django_db(transaction=True)
def test_the_store_of_a_module_leaves_no_audit_entries(worker_id):
    store = Store.create(worker_id, None)
    AuditEntry.write("test", "service.create", "s", store.projects[0])
    store.remove()
    assert not AuditEntry.objects.exists()
    assert not Project.objects.exists()
