"""The form of a new export: the chosen inferences and the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from exports.formats import FORMATS, Format
from exports.models import Container
from exports.selections import IDS_MAX, Selection
from exports.task_lifecycle import Wanted
from inferences.web.view_models.questions import Question, check_says_something

PAGE_ONLY = ("inference_id", "exclude_inference_id", "everything", "query")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The choice of a list page: these ids, or everything that a query finds.

    ``query`` is the query string of the list; ``excluded`` ids are removed from its result.
    """

    query: str = ""
    ids: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    everything: bool = True

    @classmethod
    def read(cls, given: QueryDict) -> Chosen:
        """Return the choice in a query string. Raises ``ValidationError``.

        It is ``inference_id``, or ``everything`` of ``query`` without ``exclude_inference_id``.
        A plain URL of a list chooses everything in the list.
        """
        if given.get("everything") == "" and not given.getlist("inference_id"):
            raise ValidationError("Nothing is selected.")
        names = (_once(given, n) for n in ("inference_id", "exclude_inference_id"))
        ids, excluded = names
        if len(ids) + len(excluded) > IDS_MAX:
            raise ValidationError(f"More than {IDS_MAX} ids.")
        everything = given.get("everything") == "true" or not ids
        query = given.get("query")
        if query is None:
            rest = given.copy()
            for name in (*PAGE_ONLY, "csrfmiddlewaretoken", *NewExportForm.names()):
                rest.pop(name, None)
            query = rest.urlencode()
        return cls(query.lstrip("?"), () if everything else ids, excluded, everything)

    @property
    def question(self) -> Question:
        return Question(QueryDict(self.query))

    def selection(self) -> Selection:
        """Return the ``Selection``. Raises ``ValidationError`` if a filter cannot be read."""
        if not self.everything:
            return Selection(None, self.ids, self.excluded)
        return Selection(self.question.filters, (), self.excluded)

    def asked(self) -> dict[str, Any]:
        """Return the selection as the JSON that a task stores.

        Raises ``ValidationError`` for a part that would silently choose everything.
        """
        if self.everything:
            check_says_something(self.question.given)
        try:
            return self.selection().to_json()
        except ValueError as error:
            raise ValidationError(str(error)) from None

    @property
    def written(self) -> str:
        """The query as text, also if it cannot be read; empty if it chooses everything."""
        return self.question.written


def _once(given: QueryDict, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(given.getlist(name)))


class NewExportForm(forms.Form):
    """The form of an export's format and options.

    Options of one format are fields named ``<format>:<option>``.
    """

    format = forms.ChoiceField(
        choices=[(name, each.title) for name, each in FORMATS.items()],
        initial="chariot",
    )
    container = forms.ChoiceField(choices=Container.choices, initial=Container.ZIP)
    include_inferences_as_annotations = forms.BooleanField(
        required=False, initial=True, label="What the model said, as annotations"
    )
    include_custom_metadata = forms.BooleanField(
        required=False, initial=True, label="Custom metadata"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, each in FORMATS.items():
            for option, values in each.choices.items():
                self.fields[f"{name}:{option}"] = forms.ChoiceField(
                    choices=[(value, value) for value in values],
                    label=option.replace("_", " ").capitalize(),
                    required=False,
                )

    @classmethod
    def names(cls) -> list[str]:
        return list(cls.base_fields)

    @property
    def formats(self) -> list[tuple[type[Format], list[forms.BoundField]]]:
        """Each format with the fields of its own options."""
        return [
            (each, [self[f"{name}:{option}"] for option in each.choices])
            for name, each in FORMATS.items()
        ]

    def wanted(self, chosen: Chosen) -> Wanted:
        """Return the archive that the valid form asks for."""
        values = self.cleaned_data
        name = values["format"]
        given = {o: values[f"{name}:{o}"] for o in FORMATS[name].choices}
        flags = ("include_inferences_as_annotations", "include_custom_metadata")
        return Wanted(
            selection=chosen.selection(),
            asked=chosen.asked(),
            format=name,
            container=values["container"],
            options={
                **{option: value for option, value in given.items() if value},
                **{flag: values[flag] for flag in flags},
            },
        )
