"""Django forms to register a model, and for its settings."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from inferences.models import BoxFormat, TaskType, TokenPrice
from inferences.store import text_reindexing
from istore.models import Project
from istore.outside_ids import OUTSIDE_ID
from istore.upstreams import check_upstream_url
from istore.web.forms import set_rows

LABELS_MAX = 10_000


class LabelsField(forms.CharField):
    """A field of class labels, one per line, in the order of the model's class numbers."""

    widget = forms.Textarea(attrs={"rows": 4, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        labels = [line.strip() for line in super().clean(value).splitlines()]
        labels = [label for label in labels if label]
        if any(len(label) > 255 for label in labels):
            raise forms.ValidationError("A label has at most 255 characters.")
        if len(labels) > LABELS_MAX:
            raise forms.ValidationError(f"At most {LABELS_MAX:,} labels.")
        return labels


def _languages() -> list[tuple[str, str]]:
    return [(name, name) for name in text_reindexing.languages()]


class ModelSettingsForm(forms.Form):
    """The form of a model's settings."""

    upstream_url = forms.CharField(
        label="Upstream URL",
        required=False,
        max_length=2048,
        help_text="The server that answers for this model: a V2 server, or one with the "
        "API of OpenAI, Anthropic or Ollama. Without one, the proxy cannot forward.",
        widget=forms.TextInput(
            attrs={
                "placeholder": "https://models.example.org",
                "spellcheck": "false",
                "inputmode": "url",
            }
        ),
    )
    upstream_model = forms.CharField(
        label="Name at the upstream",
        required=False,
        max_length=255,
        help_text="When it has another name there.",
    )
    class_labels = LabelsField(
        label="Class labels",
        required=False,
        help_text="One a line, in the order of the model's numbers.",
    )
    first_class_number = forms.TypedChoiceField(
        label="Number of the first class",
        choices=[(0, "0"), (1, "1, where 0 is the background")],
        coerce=int,
        empty_value=0,  # type: ignore[arg-type]  # the stubs allow a text or None only
        initial=0,
        required=False,
        help_text="What the model's numbers count from. It counts for what is read from now "
        "on; labels that are stored stay.",
    )
    box_format = forms.ChoiceField(
        label="Box format",
        choices=BoxFormat.choices,
        initial=BoxFormat.YXYX,
        help_text="The order of a box's four numbers in the model's answers.",
    )
    strip_metadata = forms.BooleanField(
        label="Take metadata out of what is forwarded", required=False
    )
    keep_failures = forms.BooleanField(
        label="Store failed calls",
        required=False,
        help_text="Keep calls that the server refused, failed, or did not answer, with "
        "their requests. status:failed finds them.",
    )
    text_embedding_service = forms.CharField(
        label="Text embedding service",
        required=False,
        max_length=255,
        help_text="The id of the service that embeds texts, to search by them.",
    )
    text_search = forms.TypedChoiceField(
        label="Search of texts",
        choices=[("", "If the task is about texts"), ("true", "Yes"), ("false", "No")],
        coerce=lambda value: value == "true",
        empty_value=None,
        required=False,
        help_text="Whether the words of prompts and answers are indexed, to search them.",
    )
    text_search_language = forms.TypedChoiceField(
        label="Language of the texts",
        choices=_languages,
        empty_value="simple",
        initial="simple",
        required=False,
        help_text="With a language its forms of a word are found together, and its stop words "
        "are left out; simple compares words as they are. After a change what is stored is "
        "indexed anew.",
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        initial = options.get("initial") or {}
        if "text_search" in initial:  # a choice is a text
            chosen = {None: "", True: "true", False: "false"}[initial["text_search"]]
            options["initial"] = {**initial, "text_search": chosen}
        super().__init__(*arguments, **options)

    def clean_upstream_url(self) -> str:
        url: str = self.cleaned_data["upstream_url"]
        if url:
            try:
                check_upstream_url(url)
            except ValueError as error:
                raise forms.ValidationError(str(error)) from None
        return url


class NewModelForm(ModelSettingsForm):
    """The form to register a model, settings included."""

    model_id = forms.CharField(
        label="Model id",
        max_length=255,
        validators=[OUTSIDE_ID],
        help_text="The name under which clients ask for it. It cannot be changed.",
        widget=forms.TextInput(attrs={"autofocus": True, "spellcheck": "false"}),
    )
    project = forms.ModelChoiceField(
        Project.objects.none(), to_field_name="project_id", empty_label=None
    )
    task_type = forms.ChoiceField(label="Task", choices=TaskType.choices)
    embedding_size = forms.IntegerField(
        label="Embedding size",
        required=False,
        min_value=0,
        max_value=settings.ISTORE_EMBEDDING_MAX,
        help_text="How many numbers an embedding has; empty for other models.",
    )
    enable_inference_storage = forms.BooleanField(
        label="Store inferences", required=False, initial=True
    )
    field_order = [
        "model_id",
        "project",
        "task_type",
        "upstream_url",
        "upstream_model",
        "class_labels",
        "first_class_number",
        "box_format",
        "embedding_size",
        "strip_metadata",
        "keep_failures",
        "text_embedding_service",
        "text_search",
        "text_search_language",
        "enable_inference_storage",
    ]

    def __init__(self, *arguments: Any, projects: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        set_rows(self, "project", projects)

    def clean_embedding_size(self) -> int:
        return int(self.cleaned_data["embedding_size"] or 0)


class PriceForm(forms.ModelForm):
    """The form of a new price of tokens."""

    class Meta:
        model = TokenPrice
        fields = [
            "model_pattern",
            "input_price",
            "cached_input_price",
            "output_price",
            "currency",
            "valid_from",
        ]
        widgets = {
            "model_pattern": forms.TextInput(
                attrs={"spellcheck": "false", "placeholder": "gpt-4o*"}
            ),
            "valid_from": forms.DateInput(attrs={"type": "date"}),
        }

    def clean_currency(self) -> str:
        return str(self.cleaned_data["currency"]).upper()
