"""The plots of the filter panel: each bin opens exactly what it counts, without scripts, too."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from inferences.tests.pages import browse, one_line, shown, text

START = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def harbour(make_inference):
    """Scores at the edges of bins, among others, and a key of whole numbers."""
    for number in range(12):
        make_inference(
            {"frame": number % 4, "gain": number / 4},
            inference_id=f"i-{number}",
            created_at=START + timedelta(minutes=number),
            detections=[("ship", number / 12 if number % 2 else 0.4), ("crane", 0.8)],
        )


def bins(response, plot: str = "") -> list[tuple[str, int]]:
    """Address and count of each bin of the plots, or of those behind a word of the page."""
    page = one_line(response)
    page = page[page.index(plot) :] if plot else page
    page = page[: page.index("</figure>")]
    found = re.findall(r'<a class="mark" href="([^"]+)" aria-label="([^"]+)"', page)
    return [
        (address.replace("&amp;", "&"), int(re.search(r"(\d+) (?:inf|sco)", said)[1]))
        for address, said in found
    ]


@pytest.mark.parametrize("query", [{}, {"label": "ship"}, {"view": "table"}])
def test_a_bin_of_scores_opens_what_has_such_a_score(person, model, harbour, query):
    client = person()
    facets = client.get(reverse("inferences:facets", args=[model.model_id]), query)
    found = bins(facets, 'id="facet-scores"')
    assert sum(count for _, count in found) == (12 if "label" in query else 24)
    for address, count in found:
        rows = len(re.findall(r'data-id="', text(client.get(address))))
        assert rows == count
        assert ("view=table" in address) is ("view" in query)


@pytest.mark.parametrize(("key", "type_"), [("frame", "int"), ("gain", "float")])
def test_a_bin_of_a_key_opens_its_numbers(person, model, harbour, key, type_):
    client = person()
    facet = client.get(
        reverse("inferences:one-key", args=[model.model_id]),
        {"of": key, "of_type": type_},
    )
    found = bins(facet)
    assert sum(count for _, count in found) == 12
    for address, count in found:
        assert len(shown(client.get(address))) == count


def test_a_bin_of_the_volume_opens_its_window(person, model, harbour):
    client = person()
    page = browse(client, model, counts="true")
    found = bins(page, 'id="volume"')
    assert sum(count for _, count in found) == 12
    for address, count in found:
        assert len(shown(client.get(address))) == count


def test_a_label_that_is_excluded_stays_in_the_legend(person, model, harbour):
    client = person()
    query = {"q": "score>=0.1 -label:ship", "view": "table"}
    facets = client.get(reverse("inferences:facets", args=[model.model_id]), query)
    for page in (facets, browse(client, model, **query)):
        entry = re.search(
            r'<li class="hue-\d+ is-excluded">.*?<a href="([^"]+)"', one_line(page)
        )
        back = entry[1].replace("&amp;", "&")
        assert "label" not in back and "score" in back
        assert client.get(back).status_code == 200
