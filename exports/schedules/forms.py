"""Forms of schedules: a new one, and a change of one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from exports.schedules import destinations
from exports.schedules.models import (
    INTERVAL_MOST,
    ExportFormat,
    ExportSchedule,
    ExportShape,
)
from inferences.search import text
from inferences.search.filters import InferenceFilter
from istore.web.forms import set_choices

EVERY = "Hours from one run to the next: 24 is once a day."
QUERY = (
    'As in the search box: label:ship score<0.4 meta.camera="12". Empty: everything.'
)


class ChangeForm(forms.Form):
    """What may change while a schedule runs. The filter is edited as text."""

    name = forms.CharField(max_length=100)
    query = forms.CharField(
        required=False,
        label="What goes out",
        help_text=QUERY,
        max_length=text.QUERY_MAX_CHARS,
        widget=forms.TextInput(attrs={"spellcheck": "false", "class": "mono"}),
    )
    interval_hours = forms.IntegerField(
        min_value=1,
        max_value=INTERVAL_MOST,
        initial=24,
        label="Every … hours",
        help_text=EVERY,
    )
    enabled = forms.BooleanField(
        required=False, initial=True, label="Runs by itself", help_text="Off: by hand."
    )

    keeps_removed = forms.BooleanField(
        required=False,
        initial=True,
        label="The lake keeps what the store removes",
        help_text="Off: rows go from the table once their records are removed.",
    )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise ValidationError("A name on one line.")
        return name

    def clean_query(self) -> str:
        query: str = self.cleaned_data["query"].strip()
        try:
            text.parse(query)
        except text.TextQueryError as error:
            raise ValidationError(str(error)) from None
        return query

    @property
    def values(self) -> dict[str, Any]:
        """The values of a schedule in a valid form."""
        fields = dict(self.cleaned_data)
        query = fields.pop("query")
        return {**fields, "selection": {"query": query} if query else {}}


class NewForm(ChangeForm):
    format = forms.ChoiceField(
        choices=[(value, label.capitalize()) for value, label in ExportFormat.choices],
        label="As",
        required=False,
    )
    shape = forms.ChoiceField(
        choices=[(value, label.capitalize()) for value, label in ExportShape.choices],
        label="Rows",
    )
    destination = forms.ChoiceField(required=False, label="Where to")
    prefix: Any = forms.CharField(
        required=False,
        label="Folder there",
        help_text="Below it come project=…, model=… and date=…",
        max_length=destinations.PREFIX_MAX_CHARS,
    )
    from_beginning = forms.BooleanField(
        required=False,
        label="With what is stored already",
        help_text="Otherwise it begins with what arrives from now on.",
    )
    field_order = (
        *("name", "query", "interval_hours", "format", "destination", "prefix"),
        *("shape", "keeps_removed", "from_beginning", "enabled"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        named = [destinations.DEFAULT, *destinations.names()]
        choices = [(name, destinations.title(name)) for name in named]
        set_choices(self, "destination", choices)

    def clean_prefix(self) -> str:
        prefix: str = self.cleaned_data["prefix"]
        try:
            destinations.check_prefix(prefix)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        return prefix

    def clean_format(self) -> str:
        return self.cleaned_data["format"] or ExportFormat.PARQUET

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.get("format") == ExportFormat.ICEBERG:
            for name in ("destination", "prefix"):
                if given.get(name):
                    self.add_error(name, "A table of the lake has no place of its own.")
        return given


def filter_text(schedule: ExportSchedule) -> str:
    """Return the filter of a schedule as text; empty if it matches everything."""
    try:
        chosen = schedule.read_filter()
    except ValueError:
        return ""
    return "" if chosen == InferenceFilter() else text.write(chosen)


def initial_of(schedule: ExportSchedule) -> dict[str, Any]:
    """Return the initial values of the form of a change."""
    return {
        "name": schedule.name,
        "query": filter_text(schedule),
        "interval_hours": schedule.interval_hours,
        "enabled": schedule.enabled,
        "keeps_removed": schedule.keeps_removed,
    }
