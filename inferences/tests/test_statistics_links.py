"""Bars of the statistics page: each opens exactly the inferences that it counts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client

from istore.models import Membership, Role

pytestmark = pytest.mark.django_db
PAGE = "/projects/harbour/models/yolo-harbour/statistics"
CELL = re.compile(r'<td class="end number">\s*<a href="([^"]+)">([0-9,]+)</a>')
BAR = re.compile(r'<a href="([^"]+)" aria-label="[^"]*: (\d+)">')


@pytest.fixture
def person(project) -> Client:
    user = User.objects.create_user("maria")
    Membership.objects.create(user=user, project=project, role=Role.VIEWER)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(autouse=True)
def filled(make_inference):
    found = [
        [("ship", 0.25), ("crane", 0.5)],
        [("ship", 0.3)],
        [('a "quoted" one', 1.0)],
        [("crane", 0.5), ("ship", 0.05)],
    ]
    for number, detections in enumerate(found):
        make_inference(
            {"camera": "north" if number % 2 else "south, east"},
            detections=detections,
            created_at=datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=number),
        )


def part(person: Client, query: str) -> str:
    return person.get(f"{PAGE}?{query}").content.decode()


def counted(person: Client, address: str) -> int:
    answer = person.get(f"{unescape(address)}&part=count").content.decode()
    return int(re.search(r"<strong>([0-9,]+)</strong>", answer)[1])


@pytest.mark.parametrize("asked", ["", "label=ship&", "vs=label:crane&"])
@pytest.mark.parametrize("which", ["part=labels", "part=key&of=camera:string"])
def test_a_count_of_a_table_opens_what_it_counts(person, asked, which):
    cells = CELL.findall(part(person, asked + which))
    assert len(cells) > 1
    for address, count in cells:
        assert counted(person, address) == int(count)


@pytest.mark.parametrize("asked", ["", "label=ship&"])
def test_a_bar_of_the_volume_opens_what_it_counts(person, asked):
    bars = BAR.findall(part(person, f"{asked}part=volume"))
    assert sum(int(count) for _, count in bars) == (3 if asked else 4)
    for address, count in bars:
        assert counted(person, address) == int(count)


def test_a_bar_of_scores_opens_the_inferences_with_such_a_detection(person):
    bars = BAR.findall(part(person, "part=scores"))
    # Both detections of 0.5 are of two inferences, as all others are of one each.
    assert sum(int(count) for _, count in bars) == 6
    for address, count in bars:
        assert counted(person, address) == int(count)
