"""What tests read of the pages of models."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from django.urls import reverse


def browse(client, model, **query):
    return client.get(reverse("inferences:browse", args=[model.model_id]), query)


def text(response) -> str:
    return response.content.decode()


def one_line(response) -> str:
    """The page with its white space as a browser shows it."""
    return " ".join(text(response).split())


ODD_IDS = [
    "a/b",
    "what?now",
    "part#2",
    "100%",
    "%2F",
    "quo\"te's",
    "<script>alert(1)</script>",
    "a b+c&d=e",
    "船 🚢",
    "ends/input",
    "back\\slash",
    "double//slash",
    "semi;colon,comma",
]


FOUND = (
    '{"object_detection": [{"label": "ship", "score": 0.9, '
    '"bounding_box": {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}}]}'
)


def shown(response) -> list[str]:
    return re.findall(
        r'class="id mono">\s*<a href="[^"]*/inferences/([^"?]+)[?"]', text(response)
    )


PAGES = [
    ("inferences:models", []),
    ("inferences:browse", ["yolo-harbour"]),
    ("inferences:detail", ["yolo-harbour", "inference-1"]),
    ("inferences:media", ["yolo-harbour", "inference-1", "input"]),
    ("inferences:media", ["yolo-harbour", "inference-1", "preview"]),
    ("inferences:activity", ["yolo-harbour"]),
    ("inferences:settings", ["yolo-harbour"]),
    ("inferences:register", []),
    ("tokens", ["harbour"]),
    ("members", ["harbour"]),
    ("password", []),
]


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """The elements as a browser reads them."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))

    Reader().feed(page)
    return found
