"""The form of a model's policy: three choices in words, ages in hours or days."""

from __future__ import annotations

from typing import Any

from django import forms

from istore.web.forms import set_choices
from retention.models import HOURS_MOST, KEEP, DeleteAction, RetentionPolicy
from retention.policies import contradiction
from retention.templatetags.ages import DAY, interval

BOTH, INPUTS, NOTHING = "both", "inputs", "nothing"
CHOICES = [
    (BOTH, "Delete inputs and inferences"),
    (INPUTS, "Delete inputs, and keep inferences"),
    (NOTHING, "Keep both"),
]
INTERVALS = [0, 1, 6, 12, DAY, 7 * DAY]
UNITS = [("1", "hours"), (str(DAY), "days")]
DEFAULT_INPUT_AGE, DEFAULT_RECORD_AGE = 30 * DAY, 90 * DAY


class AgeWidget(forms.MultiWidget):
    """A number and its unit, for an age in hours."""

    def __init__(self, label: str) -> None:
        number = forms.NumberInput(attrs={"min": 0, "aria-label": label})
        unit = forms.Select(choices=UNITS, attrs={"aria-label": f"Unit: {label}"})
        super().__init__([number, unit])

    def decompress(self, value: int | None) -> list[Any]:
        if value is None:
            return [None, str(DAY)]
        if value and not value % DAY:
            return [value // DAY, str(DAY)]
        return [value, "1"]


class AgeField(forms.MultiValueField):
    """An age in whole hours, entered as hours or days; None if it is empty."""

    def __init__(self, label: str, **options: Any) -> None:
        fields = [
            forms.IntegerField(min_value=0, max_value=HOURS_MOST),
            forms.TypedChoiceField(choices=UNITS, coerce=int),
        ]
        super().__init__(
            fields, label=label, widget=AgeWidget(label), required=False, **options
        )

    def compress(self, given: list[Any]) -> int | None:
        if not given or given[0] is None:
            return None
        hours: int = given[0] * int(given[1] or 1)
        if hours > HOURS_MOST:
            raise forms.ValidationError("That is too long.")
        return hours


class PolicyForm(forms.Form):
    """The form of a policy. ``terms`` are its values, or None if everything is kept."""

    what = forms.ChoiceField(choices=CHOICES, widget=forms.RadioSelect)
    input_age = AgeField("Delete inputs after")
    record_age = AgeField("Delete inferences after")
    delete_action = forms.ChoiceField(
        label="How inferences are deleted",
        choices=[
            (
                DeleteAction.SOFT,
                "softly: hidden at once; an administrator can restore them",
            ),
            (DeleteAction.HARD, "for good: nothing is left of them"),
        ],
        initial=DeleteAction.SOFT,
        required=False,
        widget=forms.RadioSelect,
    )
    # The stubs allow an empty value that is a text or None only.
    automated_interval = forms.TypedChoiceField(
        label="Carry it out",
        coerce=int,
        required=False,
        empty_value=0,  # type: ignore[arg-type]
    )

    def __init__(
        self, *arguments: Any, policy: RetentionPolicy | None, **more: Any
    ) -> None:
        more["initial"] = _initial(policy)
        super().__init__(*arguments, **more)
        known = {*INTERVALS, policy.automated_interval if policy else 0}
        if (
            self.is_bound
            and (given := self.data.get("automated_interval", "")).isdecimal()
        ):
            known.add(min(int(given[:10]), HOURS_MOST))
        choices = [(count, interval(count)) for count in sorted(known)]
        set_choices(self, "automated_interval", choices)

    def clean(self) -> dict[str, Any]:
        super().clean()
        given = self.cleaned_data
        what: str = given.get("what", "")
        wanted = {BOTH: ("input_age", "record_age"), INPUTS: ("input_age",)}
        for name in wanted.get(what, ()):
            if given.get(name) is None and name not in self.errors:
                self.add_error(name, "Say after how long.")
        if what == BOTH and not self.errors:
            why = contradiction(given["record_age"], given["input_age"])
            if why:
                self.add_error("input_age", why)
        for name in ("input_age", "record_age"):
            if what and name not in wanted.get(what, ()):
                self.errors.pop(name, None)  # the choice does not use this field
        return given

    @property
    def terms(self) -> dict[str, Any] | None:
        """The values of a policy in the valid form, or None if everything is kept."""
        given = self.cleaned_data
        if given["what"] == NOTHING:
            return None
        both = given["what"] == BOTH
        return {
            "maximum_blob_age": given["input_age"],
            "maximum_record_age": given["record_age"] if both else KEEP,
            "delete_action": given["delete_action"] or DeleteAction.SOFT,
            "automated_interval": given["automated_interval"],
        }


def _initial(policy: RetentionPolicy | None) -> dict[str, Any]:
    if policy is None:
        return {
            "what": NOTHING,
            "input_age": DEFAULT_INPUT_AGE,
            "record_age": DEFAULT_RECORD_AGE,
        }
    kept = policy.keeps_records
    later = max(DEFAULT_RECORD_AGE, policy.maximum_blob_age)
    return {
        "what": INPUTS if kept else BOTH,
        "input_age": policy.maximum_blob_age,
        "record_age": later if kept else policy.maximum_record_age,
        "delete_action": policy.delete_action,
        "automated_interval": policy.automated_interval,
    }
