"""The form that filters the list of traces; its fields are the parameters of the API."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from inferences.search.text import moment_in
from istore.models import Project
from protocols.otlp.draft import KINDS
from traces.listing import ERROR, OK, TraceQuery
from traces.models import NAME_CHARS

ON_A_PAGE = 30
SECONDS_MAX = 10.0**9
FIELDS = (
    *("start", "end", "service", "session", "kind", "status", "name"),
    *("least_seconds", "most_seconds"),
)


class TraceForm(forms.Form):
    """What traces are asked for, by a person."""

    name = forms.CharField(label="Name of a span", max_length=NAME_CHARS)
    status = forms.ChoiceField(
        choices=[("", "any"), (ERROR, "with errors"), (OK, "without errors")]
    )
    kind = forms.ChoiceField(
        label="Kind of a span", choices=[("", "any"), *((k, k) for k in KINDS)]
    )
    model = forms.ChoiceField(label="Model of a span")
    service = forms.CharField(max_length=1024)
    session = forms.CharField(max_length=1024)
    start = forms.CharField(
        label="Since", max_length=64, help_text="A day, a time, or 24h, 7d, …"
    )
    end = forms.CharField(label="Until", max_length=64)
    least_seconds = forms.FloatField(
        label="Seconds, at least", min_value=0, max_value=SECONDS_MAX
    )
    most_seconds = forms.FloatField(
        label="Seconds, at most", min_value=0, max_value=SECONDS_MAX
    )

    def __init__(self, given: Any, project: Project) -> None:
        super().__init__(given)
        names = project.models.order_by("model_id").values_list("model_id", flat=True)
        models = self.fields["model"]
        assert isinstance(models, forms.ChoiceField)
        models.choices = [("", "any"), *((name, name) for name in names)]
        for field in self.fields.values():
            field.required = False

    def clean_start(self) -> Any:
        return self._moment("start", end_of_day=False)

    def clean_end(self) -> Any:
        return self._moment("end", end_of_day=True)

    def _moment(self, name: str, *, end_of_day: bool) -> Any:
        text = self.cleaned_data[name]
        if not text:
            return None
        try:
            return moment_in(text, end_of_day=end_of_day)
        except (ValueError, OverflowError):
            message = "A day or a time, such as 2026-01-31, or 24h."
            raise ValidationError(message) from None

    def query(self, cursor: str) -> TraceQuery:
        """Return the query of a valid form."""
        told = self.cleaned_data
        given = {name: told[name] for name in FIELDS if told[name] not in ("", None)}
        return TraceQuery(
            **given, model_id=told["model"] or None, limit=ON_A_PAGE, cursor=cursor
        )
