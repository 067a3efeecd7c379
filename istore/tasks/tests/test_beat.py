"""Messages of beat, under clocks that are wrong or put back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.schedules import crontab
from celery.signals import before_task_publish
from django.db import connection

from istore.db import clock
from istore.tasks import beat
from istore.tasks.beat import HEADER, SteadyScheduler, StoreTask

pytestmark = pytest.mark.django_db


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 6, 1, 12, tzinfo=UTC)

    def time(self) -> float:
        return self.now.timestamp()


@pytest.fixture(autouse=True)
def nobody_leads(db):
    """The connection goes on after a test, and with it the lock of a beat."""
    yield
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_all()")


@pytest.fixture
def wall(monkeypatch):
    given = Clock()
    monkeypatch.setattr(beat, "time", given)
    return given


@pytest.fixture
def app(wall):
    made = Celery("test", broker="memory://", task_cls=StoreTask, set_as_current=False)
    made.conf.timezone = "UTC"
    made.now = lambda: wall.now
    return made


class Recorded(SteadyScheduler):
    def __init__(self, *args, **options):
        self.sent = []
        super().__init__(*args, **options)

    def apply_async(self, entry, *args, **options):
        self.sent.append(entry.name)


def sent(scheduler) -> list[str]:
    scheduler.sent.clear()
    for _ in range(20):
        if scheduler.tick() > 0:
            break
    return sorted(scheduler.sent)


def scheduler_of(app, kind=Recorded):
    app.conf.beat_schedule = {
        "minutely": {"task": "a", "schedule": timedelta(minutes=1)},
        "every five": {"task": "b", "schedule": timedelta(minutes=5)},
        "hourly": {"task": "c", "schedule": crontab(minute=30)},
    }
    return kind(app=app, lazy=False)


@pytest.mark.parametrize("back", [timedelta(minutes=10), timedelta(days=1)])
def test_a_clock_that_is_put_back_silences_nothing(app, wall, back):
    scheduler = scheduler_of(app)
    sent(scheduler)
    wall.now += timedelta(minutes=6)
    assert sent(scheduler) == ["every five", "minutely"]

    wall.now -= back

    assert set(sent(scheduler)) >= {"every five", "minutely"}
    assert sent(scheduler) == []
    wall.now += timedelta(minutes=1, seconds=1)
    assert sent(scheduler) == ["minutely"]
    wall.now += timedelta(minutes=4)
    assert "every five" in sent(scheduler)


def test_a_ring_says_when_it_is_over_in_the_time_of_the_database(app, wall):
    wall.now = datetime(2001, 1, 1, tzinfo=UTC)
    scheduler = scheduler_of(app, SteadyScheduler)
    sent = []

    def keep(headers=None, **more):
        sent.append(headers)

    before_task_publish.connect(keep)
    try:
        entry = scheduler.Entry(
            name="x", task="a", schedule=timedelta(minutes=1), app=app
        )
        entry.options = {"expires": 60}
        scheduler.apply_async(entry, advance=False)
    finally:
        before_task_publish.disconnect(keep)

    (headers,) = sent
    assert headers["expires"] is None
    until = datetime.fromisoformat(headers[HEADER]) - clock.now()
    assert timedelta(seconds=30) < until <= timedelta(seconds=60)
    assert entry.options == {"expires": 60}


@pytest.mark.parametrize(("seconds", "calls"), [(60, 1), (-1, 0), (None, 1)])
def test_a_ring_counts_until_it_is_over_by_the_clock_of_the_database(
    app, seconds, calls
):
    done = []

    @app.task(name="a")
    def a():
        done.append(1)

    until = clock.now() + timedelta(seconds=seconds) if seconds else None
    a.push_request(**({HEADER: until.isoformat()} if until else {}))
    try:
        a()
    finally:
        a.pop_request()

    assert len(done) == calls


@pytest.mark.django_db(transaction=True)
def test_of_two_beats_one_sends_and_the_other_goes_on_when_it_ends(app, wall):
    first, second = scheduler_of(app), scheduler_of(app)

    wall.now += timedelta(minutes=6)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(sent, first).result() == ["every five", "minutely"]
        assert second.tick() == beat.ASK_SECONDS
        assert sent(second) == []
        other.submit(lambda: connection.close()).result()  # it was killed
    assert sent(second) == ["every five", "minutely"]
    connection.close()
