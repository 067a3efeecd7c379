"""The values that a filter panel offers, as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

from inferences.web.choice_markup import write_choices
from inferences.web.view_models.facets import Choice


class Elements(HTMLParser):
    """The elements of a piece of HTML, each with its attributes, and the texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_names_of_callers_stay_text():
    name = "<img src=x onerror=alert(1)>\"'&"
    written = Elements(write_choices([Choice(name)], "label", "checkbox"))
    assert [tag for tag, _ in written.found] == ["label", "input", "span"]
    (_, given), (_, shown) = written.found[1:]
    assert given["value"] == shown["title"] == name
    assert name in written.texts
    assert "checked" not in given


def test_a_counted_choice_of_another_value_has_its_share():
    choice = Choice("yes", 1234, True, 12.5, 7, value="true")
    written = Elements(write_choices([choice], "a&b", "radio"))
    by_tag = dict(written.found)
    assert by_tag["label"]["class"] == "choice hue-7"
    assert by_tag["input"] | {"id": ""} == {
        "type": "radio",
        "name": "a&b",
        "id": "",
        "value": "true",
        "checked": None,
    }
    assert by_tag["rect"]["width"] == "12.5%"
    assert "1,234" in written.texts
    assert ("span", {"class": "swatch"}) in written.found


def test_a_choice_that_nothing_matches_says_so():
    (label, *_) = Elements(write_choices([Choice("none", 0)], "label", "radio")).found
    assert label[1]["class"] == "choice nil"
