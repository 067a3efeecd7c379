"""An administrator erases what a list selected: these inferences wherever they are, and no others."""

from __future__ import annotations

import pytest

from inferences.erasure.running import erase
from inferences.models.erasure import ErasureTask
from inferences.store.protection import Protection, protect_all
from inferences.tests.pages import one_line, text
from inferences.tests.test_deleting_pages import REMOVE, live, log_in
from istore.models import AuditEntry, IdempotentCall, Role

pytestmark = pytest.mark.django_db
SURE = {"sure": "true", "how": "erase"}


@pytest.fixture
def administrator(project):
    return log_in(project, "ada", Role.ADMINISTRATOR)


@pytest.fixture
def ships(model, make_inference):
    for name in "abcd":
        make_inference({"person": "Zaphod"}, inference_id=name)
    rows = model.inferences.filter(inference_id="a")
    protect_all("test", model, lambda: rows, Protection(True, "Court."))
    return model


def test_the_chosen_ones_are_erased_with_a_proof(administrator, project, ships):
    caller = f"token {project.tokens.create(role=Role.EDITOR).pk}"
    for name in "ac":
        IdempotentCall.objects.create(
            caller=caller, key=name, status=201, content=b'{"id": "%s"}' % name.encode()
        )
    chosen = {"inference_id": ["a", "b"], **SURE, "why": "Asked."}
    assert administrator.post(REMOVE, chosen).status_code == 400

    begun = administrator.post(REMOVE, {**chosen, "number": "2"})
    task = ErasureTask.objects.get()
    erase(task)
    task.refresh_from_db()

    assert (task.type, task.key, task.value) == ("selection", "yolo-harbour", "")
    assert task.report["erased"]["protected"] == 1
    assert task.report["left"]["records"] == task.report["proof"]["left"] == 0
    assert live(ships) == {"c", "d"}
    assert IdempotentCall.objects.get().key == "c"
    noted = AuditEntry.objects.get(action="erasure.request")
    assert noted.details == {"of_model": "yolo-harbour", "why": "Asked."}
    page = one_line(administrator.get(begun.url))
    assert "Nothing of it is left." in page
    for name, answer in (("a", "Yes: this erasure"), ("c", "No, not by"), ("\0", "")):
        asked = {"model_id": "yolo-harbour", "inference_id": name}
        assert answer in one_line(administrator.get(begun.url, asked))


def test_all_that_matched_but_some_are_erased_and_none_that_arrives_later(
    administrator, ships, make_inference
):
    chosen = {"everything": "true", "query": "metadata=person=Zaphod"}
    chosen |= {"exclude_inference_id": ["d"], "number": "3", **SURE}
    administrator.post(REMOVE, chosen)
    make_inference({"person": "Zaphod"}, inference_id="later")

    task = ErasureTask.objects.get()
    erase(task)

    assert live(ships) == {"d", "later"}
    assert task.report["erased"]["records"] == 3


def test_who_is_no_administrator_is_not_offered_it_and_may_not(
    administrator, project, ships
):
    editor = log_in(project, "maria")
    assert "Erase, with a report" in text(
        administrator.post(REMOVE, {"inference_id": "a"})
    )
    assert "Erase, with a report" not in text(
        editor.post(REMOVE, {"inference_id": "a"})
    )
    refused = editor.post(REMOVE, {"inference_id": "a", "number": "1", **SURE})
    assert refused.status_code == 403
    unknown = {"inference_id": "a", "sure": "true", "how": "burn"}
    assert editor.post(REMOVE, unknown).status_code == 400
    assert live(ships) == set("abcd")
    assert not ErasureTask.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"), [("inference_id", "a\0b"), ("query", "q=%00"), ("why", "\0")]
)
def test_what_no_text_of_the_store_can_have_erases_nothing(
    administrator, ships, field, value
):
    chosen = {"inference_id": ["a"], "number": "1", **SURE, field: value}
    if field == "query":
        chosen["everything"] = "true"
    assert administrator.post(REMOVE, chosen).status_code in (302, 400)
    assert live(ships) == set("abcd")
    assert not ErasureTask.objects.exists()
