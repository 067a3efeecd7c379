"""Pages leave the server at once, however long a panel of them takes: it is a request of its own."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from inferences.models import GroundTruth
from inferences.web import browsing, models, statistics
from istore.db import clock
from quality import views as quality

pytestmark = pytest.mark.django_db
MODEL = "/models/yolo-harbour"
AT_ONCE_SECONDS = 0.1
SLOW_SECONDS = 0.6
TRIES = 8  # the best of them is the page's own time, whatever else the machine does

SKELETONS = [
    "/",
    "/?view=table",
    f"{MODEL}/statistics?since=30d",
    f"{MODEL}/quality",
    f"{MODEL}/inferences",
]
PANELS = [
    f"{MODEL}/activity",
    "/?figures=true",
    f"{MODEL}/statistics?part=labels",
    f"{MODEL}/statistics?figures=true",
    f"{MODEL}/quality?part=figures",
    f"{MODEL}/inferences?part=count",
    f"{MODEL}/facets",
]


@pytest.fixture
def slow_panels(monkeypatch, model, make_inference):
    """Every panel waits; the model has inferences with ground truth, so that all have work."""

    def slowly(does):
        def wait(*args, **kwargs):
            time.sleep(SLOW_SECONDS)
            return does(*args, **kwargs)

        return wait

    for module, name in (
        (models, "activity"),
        (quality, "measure"),
        (quality, "counts"),
        (browsing, "count_in_time"),
    ):
        monkeypatch.setattr(module, name, slowly(getattr(module, name)))
    monkeypatch.setattr(
        browsing.counting, "count_facets", slowly(browsing.counting.count_facets)
    )
    for part, figure in statistics.FOUND.items():
        monkeypatch.setitem(statistics.FOUND, part, slowly(figure))
    for number in range(5):
        made = make_inference(
            {"camera": "north"},
            created_at=datetime(2025, 6, 1, number, tzinfo=UTC),
            detections=[("ship", 0.9)],
        )
        GroundTruth.objects.create(
            id=made.id,
            registered_model=model,
            truth={"labels": ["ship"]},
            agrees=True,
            actor="test",
            set_at=clock.now(),
        )


def seconds(client, address: str) -> float:
    begun = time.perf_counter()
    response = client.get(address, follow=True)
    taken = time.perf_counter() - begun
    assert response.status_code == 200, address
    return taken


@pytest.mark.parametrize("address", SKELETONS)
def test_a_page_does_not_wait_for_its_panels(person, slow_panels, address):
    client = person()
    seconds(client, address)  # templates are compiled once in a process
    assert min(seconds(client, address) for _ in range(TRIES)) < AT_ONCE_SECONDS


@pytest.mark.parametrize("address", PANELS)
def test_the_panels_of_that_test_are_slow(person, slow_panels, address):
    assert seconds(person(), address) >= SLOW_SECONDS
