"""Django forms of the dataset pages."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from datasets.models import DESCRIPTION_MAX, NAME, Dataset
from datasets.splitting import Splitting
from exports.formats import FORMATS
from exports.models import Container
from istore.web.forms import set_choices

KINDS = [
    ("none", "No splits"),
    ("share", "By shares of the inputs"),
    ("group", "By shares, the groups of a metadata key together"),
    ("value", "By the value of a metadata key, which names the split"),
]
SHARE = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=\s*([0-9.]+)\s*(%?)\s*")


class NewDatasetForm(forms.Form):
    """The form to create a dataset."""

    name = forms.CharField(max_length=255, validators=[NAME])
    description = forms.CharField(
        required=False,
        max_length=DESCRIPTION_MAX,
        widget=forms.Textarea(attrs={"rows": 2}),
    )


class AddForm(forms.Form):
    """The form to add inferences to an existing dataset, or to a new one by name."""

    dataset = forms.ChoiceField(required=False, label="A dataset")
    new_name = forms.CharField(
        required=False, max_length=255, validators=[NAME], label="Or a new one, named"
    )
    skip_duplicates = forms.BooleanField(
        required=False, label="Leave out inputs that it has already"
    )

    def __init__(self, *args: Any, names: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_choices(self, "dataset", [("", "—"), *((n, n) for n in names)])

    def clean(self) -> dict[str, Any]:
        super().clean()
        values = self.cleaned_data
        if bool(values.get("dataset")) == bool(values.get("new_name")):
            raise ValidationError("Choose a dataset, or name a new one.")
        return values


class SplittingForm(forms.Form):
    """The form to split the working version of a dataset."""

    kind = forms.ChoiceField(choices=KINDS, label="How")
    shares = forms.CharField(
        required=False,
        max_length=400,
        help_text="Such as train=80%, validation=10%, test=10%.",
    )
    key = forms.CharField(required=False, max_length=1024, label="Metadata key")
    seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        help_text="The same seed gives the same split, whatever is added later.",
    )

    @classmethod
    def of(cls, dataset: Dataset) -> SplittingForm:
        splitting = Splitting.from_json(dataset.splitting)
        shares = ", ".join(
            f"{name}={100 * splitting.shares[name]:.6g}%"
            for name in sorted(splitting.shares, key=lambda n: -splitting.shares[n])
        )
        return cls(
            initial={
                "kind": splitting.kind,
                "shares": shares,
                "key": splitting.key,
                "seed": splitting.seed,
            }
        )

    def clean(self) -> dict[str, Any]:
        super().clean()
        values = self.cleaned_data
        if self.errors:
            return values
        try:
            values["splitting"] = Splitting(
                kind=values["kind"],
                shares=shares_in(values["shares"])
                if values["shares"]
                else {"train": 1.0},
                seed=values["seed"] or 0,
                key=values["key"] if values["kind"] in ("group", "value") else "",
            )
        except ValueError as error:
            raise ValidationError(str(error)) from None
        return values


def shares_in(text: str) -> dict[str, float]:
    """Return ``train=80%, test=0.2`` as shares from 0 to 1 by name. Raises ValueError."""
    found: dict[str, float] = {}
    for part in text.split(","):
        read = SHARE.fullmatch(part)
        if not read:
            raise ValueError(f"shares: {part.strip()!r} is not like train=80%.")
        found[read[1]] = float(read[2]) / (100 if read[3] else 1)
    return found


class ArchiveForm(forms.Form):
    """The form to write a version as an archive."""

    format = forms.ChoiceField(choices=[(n, f.title) for n, f in FORMATS.items()])
    container = forms.ChoiceField(choices=Container.choices, label="File")
    split = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, splits: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_choices(self, "split", [("", "all"), *((n, n) for n in splits)])
