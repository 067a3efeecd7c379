"""Names as long as they may be, and without a place to break: no page becomes wider for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User

from datasets.adding import carry_out as add
from datasets.models import AddingTask, Dataset
from exports.archive_writer import carry_out
from exports.models import ExportTask
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from inferences.models import RegisteredModel, TaskType
from istore.models import Membership, Project, Role
from retention import policies
from retention.sweeping import sweep
from tests.conftest import PASSWORD, box, picture, stored

pytestmark = pytest.mark.django_db(transaction=True)

WIDTHS = (320, 768, 1360)


def long(word: str, length: int = 255) -> str:
    return (word * length)[:length]


@pytest.fixture
def crowded(transactional_db, make_inference):
    """A model whose every name is long: id, labels, keys, values, source."""
    project = Project.objects.create(project_id=long("harbour-project"))
    user = User.objects.create_user("maria", password=PASSWORD)
    Membership.objects.create(user=user, project=project, role=Role.ADMINISTRATOR)
    model = RegisteredModel.objects.create(
        model_id=long("detector-of-ships"),
        project=project,
        task_type=TaskType.OBJECT_DETECTION,
        enable_inference_storage=True,
        class_labels=[long("ship"), long("crane")],
    )
    found = [
        {"label": long(label), "score": 0.9, "bounding_box": box(20, 20, 90, 70)}
        for label in ("ship", "crane")
    ]
    for number in range(6):
        make_inference(
            {
                long("camera"): long("north"),
                "frame": number,
                long("pose", 200): {long("angle", 40): 0.5},
            },
            to=model,
            inference_id=f"{number}{long('x', 254)}",
            created_at=datetime.now(UTC) - timedelta(days=number + 1),
            data=json.dumps({"object_detection": found}),
            detections=[(long("ship"), 0.9), (long("crane"), 0.4)],
            data_source=long("quay"),
            data_storage_key=stored(picture()),
            data_size=400,
            data_content_type="image/png",
            is_protected=number == 0,
            notes={"warnings": [long("warning")]},
        )
    return model


@pytest.fixture
def pages(crowded):
    """The addresses of all pages that tell of it."""
    model, project = crowded, crowded.project
    export = ExportTask.objects.create(
        model=model, created_by=long("maria"), format="chariot", selection={}
    )
    carry_out(export)
    dataset = Dataset.objects.create(project=project, name=long("ships", 200))
    adding = AddingTask.objects.create(
        dataset=dataset, model=model, selection={}, created_by="maria"
    )
    add(adding)
    policy = policies.create_policy(
        "test",
        model,
        maximum_record_age=130,
        maximum_blob_age=130,
        delete_action="soft",
        automated_interval=0,
    )
    task = policies.open_task(long("maria"), policy)
    sweep(task)
    policies.change_policy("test", policy, maximum_record_age=0, maximum_blob_age=0)
    value = long("south")
    erasure = open_erasure(
        "maria",
        project,
        Carried(long("camera"), "string", value),
        why=long("why"),
        dry_run=False,
    )
    erase(erasure)
    here = f"/models/{quote(model.model_id)}"
    there = f"/projects/{quote(project.project_id)}"
    one = f"{here}/inferences/0{long('x', 254)}"
    condition = quote(f"{long('camera')}:string={long('north')}")
    return [
        "/",
        "/?view=table",
        f"{here}/inferences",
        f"{here}/inferences?view=table&metadata={condition}&label={long('ship')}",
        one,
        f"{one}/similar",
        f"{here}/statistics?of=frame:int&vs=label:{long('crane')}",
        f"{here}/quality",
        f"{here}/retention",
        f"{here}/retention/tasks",
        f"{here}/retention/tasks/{task.pk}",
        f"{here}/deleted",
        f"{here}/exports",
        f"{here}/exports/new?inference_id=0{long('x', 254)}",
        f"{here}/exports/{export.pk}",
        f"{here}/exports/schedules",
        f"{here}/try",
        f"{here}/settings",
        f"{there}/datasets",
        f"{there}/datasets/{quote(dataset.name)}",
        f"{there}/erasures",
        f"{there}/erasures/{erasure.pk}",
        f"{there}/tokens",
        f"{there}/members",
        "/services",
        "/register",
    ]


def test_no_page_is_wider_than_its_window(pages, page, live_server, log_in):
    log_in(page)
    wide = []
    for address in pages:
        answer = page.goto(live_server.url + address)
        page.wait_for_load_state("networkidle")
        if answer.status != 200:
            wide.append(f"{address[:60]} is a {answer.status}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            wide += [
                f"{address[:20]}…{address[-30:]} at {width}: {name}"
                for name in page.evaluate(BEYOND)
            ]
    assert not wide, "\n".join(wide)


# The innermost elements that do not fit into themselves, unless they scroll or cut it off.
BEYOND = """() => {
  const seen = (one) => one.clientWidth > 1 && !one.closest("svg, [popover], dialog");
  const bursts = (one) => seen(one) && one.scrollWidth > one.clientWidth + 1
    && getComputedStyle(one).overflowX === "visible";
  const found = [...document.querySelectorAll("body, body *")].filter(bursts);
  const innermost = found.filter((one) => !found.some((other) => other !== one && one.contains(other)));
  const said = innermost.map((one) => `${one.tagName}.${one.className} ${one.innerText.slice(0, 40)}`);
  const page = document.documentElement;
  return (page.scrollWidth > page.clientWidth ? ["the page scrolls"] : []).concat(said).slice(0, 5);
}"""
