"""Django forms to create services, and to start and call sessions."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings

from istore.db.clock import now
from istore.errors import StoreError
from istore.json_text import read_json
from istore.models import Project
from istore.outside_ids import OUTSIDE_ID
from istore.web.forms import set_choices, set_rows
from services.models import Runner
from services.runners.checking import (
    check_configuration,
    command_names,
    is_endpoint,
)
from services.runners.config_fields import BadConfiguration
from services.runners.mocks import mock_titles
from services.runners.schemas import check_schema
from services.runners.servers import JSON, OPENAI, V2

PROTOCOLS = {
    V2: "Open Inference Protocol V2",
    OPENAI: "OpenAI-compatible",
    JSON: "Plain JSON",
}
LIVES = {"1": "1 hour", "8": "8 hours", "24": "1 day", "168": "1 week"}
PLAIN = {"spellcheck": "false", "autocapitalize": "off"}
REQUEST_CHARS = 2_000_000


class JSONTextField(forms.CharField):
    """A field of JSON text, parsed as strictly as the API parses."""

    def __init__(self, rows: int = 4, **options: Any) -> None:
        attributes = {"rows": rows, "class": "mono", **PLAIN}
        super().__init__(widget=forms.Textarea(attrs=attributes), **options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            return read_json(text.encode())
        except (StoreError, UnicodeEncodeError) as error:
            raise forms.ValidationError(str(error)) from None


class OfProjectsForm(forms.Form):
    """A form whose first field is the project, one of those where the person is an editor."""

    project = forms.ModelChoiceField(
        Project.objects.none(), to_field_name="project_id", empty_label=None
    )

    def __init__(self, *arguments: Any, projects: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        set_rows(self, "project", projects)


class MockForm(OfProjectsForm):
    mock = forms.ChoiceField()
    speaks_openai = forms.BooleanField(required=False)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        set_choices(self, "mock", mock_titles().items())


class NewServiceForm(OfProjectsForm):
    """The form of a service: a server that runs already, or a command of the installation."""

    name = forms.CharField(max_length=255, validators=[OUTSIDE_ID])
    runner = forms.ChoiceField(label="What answers")
    url = forms.CharField(
        label="URL",
        required=False,
        max_length=2048,
        widget=forms.TextInput(
            attrs={"placeholder": "https://models.example.org", **PLAIN}
        ),
    )
    protocol = forms.ChoiceField(choices=list(PROTOCOLS.items()), initial=OPENAI)
    model = forms.CharField(
        label="Model's name there",
        required=False,
        max_length=255,
        help_text="For V2 servers.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    endpoint = forms.CharField(
        initial="v1/chat/completions",
        max_length=255,
        help_text="What is called below infer/, and the server's path unless it is V2.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    model_id = forms.CharField(
        label="Registered model",
        required=False,
        max_length=255,
        validators=[OUTSIDE_ID],
        help_text="Whose inferences the calls are, if it stores any.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    output_schema = JSONTextField(
        label="Output schema",
        required=False,
        max_length=200_000,
        help_text="A JSON schema. Answers that do not fit are refused.",
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        commands = [(f"process:{n}", f"Command: {n}") for n in command_names()]
        set_choices(self, "runner", [("url", "A server at a URL"), *commands])

    def clean_endpoint(self) -> str:
        endpoint: str = self.cleaned_data["endpoint"]
        if not is_endpoint(endpoint):
            raise forms.ValidationError("Letters, digits and '._~-' in segments.")
        return endpoint

    def clean_output_schema(self) -> dict[str, Any] | None:
        schema = self.cleaned_data["output_schema"]
        if schema is None:
            return None
        if not isinstance(schema, dict):
            raise forms.ValidationError("A JSON schema is an object.")
        try:
            check_schema(schema)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        return schema

    def clean(self) -> dict[str, Any]:
        super().clean()
        cleaned = self.cleaned_data
        kind, _, process = cleaned.get("runner", "").partition(":")
        given = {name: cleaned.get(name) for name in ("url", "protocol", "model")}
        configuration = {name: value for name, value in given.items() if value}
        if kind == Runner.PROCESS:
            configuration = {"process": process}
        try:
            check_configuration(kind, configuration)
        except BadConfiguration as error:
            name = error.name if error.name in self.fields else "runner"
            self.add_error(name, str(error))
        return {**cleaned, "runner": kind, "configuration": configuration}

    @property
    def values(self) -> dict[str, Any]:
        """Return the arguments that create the service; call it when the form is valid."""
        names = ("name", "model_id", "runner", "configuration", "endpoint")
        return {name: self.cleaned_data[name] for name in (*names, "output_schema")}


class SessionForm(forms.Form):
    replicas = forms.IntegerField(
        min_value=1, max_value=settings.ISTORE_SESSION_REPLICAS_MAX, initial=1
    )
    life = forms.ChoiceField(
        label="Expires after", choices=list(LIVES.items()), initial="24"
    )

    @property
    def expires_at(self) -> datetime:
        return now() + timedelta(hours=int(self.cleaned_data["life"]))


class CallForm(forms.Form):
    request = JSONTextField(
        rows=8, max_length=REQUEST_CHARS, help_text="JSON, as the interface takes it."
    )

    @classmethod
    def with_example(cls, example: Any) -> CallForm:
        text = json.dumps(example, indent=2, ensure_ascii=False)
        return cls(initial={"request": text})
