"""Parse the query string of lists (pages and plain GET) into a filter, and write it again.

``since``, ``until``, ``action``, ``hash``, ``source``, ``label`` (repeatable),
``min_score``, ``max_score``, ``near`` (latitude,longitude,radius), ``within`` (the
latitude and longitude of two opposite corners), ``truth`` (given, missing, agrees,
differs), ``warnings`` (yes, no, not-understood), ``status`` (failed, ok, 4xx, …), ``metadata`` (repeatable: ``camera=north``,
``frame:int>10``, ``pose.angle:json.float<=0.5``, ``gain>=2`` for int and float alike), and
``q``, a text query. All must hold. Each kind of filter declares its own (``all_kinds``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from inferences.models import Inference
from inferences.search import text
from inferences.search.filters import Filter, InferenceFilter
from inferences.search.filters.all_kinds import KINDS, PARAMETERS
from inferences.search.filters.intersection import all_of
from inferences.search.filters.kind import Parameter
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.tree import And, normal

VALUES_MAX = 100  # of one parameter in a URL; a text query or a body may have more
OF_INTERSECTION = {each.name for each in fields(InferenceFilter)}


class ValueField(forms.CharField):
    """A text, and what a function reads from it; None if it is blank."""

    def __init__(self, *, read: Callable[[str], Any], **options: Any) -> None:
        self.read = read
        super().__init__(**options)

    def clean(self, value: Any) -> Any:
        given = super().clean(value)
        return _read(self.read, given) if given else None


class ListField(forms.Field):
    """All values of a repeatable parameter, without blank ones."""

    widget = forms.MultipleHiddenInput

    def __init__(self, *, read: Callable[[str], Any] | None, **options: Any) -> None:
        self.read = read or str
        super().__init__(**options)

    def clean(self, value: Any) -> list[Any]:
        given = [each for each in value or [] if each.strip()]
        if len(given) > VALUES_MAX:
            raise ValidationError(f"More than {VALUES_MAX} of them.")
        return [_read(self.read, each) for each in given]


def _read(read: Callable[[str], Any], given: str) -> Any:
    try:
        return read(given)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class TextQueryField(forms.CharField):
    """A text query; its errors name the column."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, **options)

    def clean(self, value: Any) -> Filter:
        try:
            return text.parse(super().clean(value))
        except text.TextQueryError as error:
            raise ValidationError(str(error), code="text-query") from None


def _field(field: type[forms.Field], **options: Any) -> django_filters.Filter:
    made = django_filters.Filter(**options)
    made.field_class = field
    return made


def _field_of(parameter: Parameter) -> django_filters.Filter:
    label = parameter.label
    if parameter.choices:
        choices = [(name, name) for name in parameter.choices]
        return django_filters.ChoiceFilter(label=label, choices=choices)
    if parameter.is_number:
        return django_filters.NumberFilter(label=label)
    if parameter.is_repeatable:
        return _field(ListField, label=label, read=parameter.read)
    if parameter.read:
        return _field(ValueField, label=label, read=parameter.read)
    most = parameter.max_length
    return django_filters.CharFilter(label=label, max_length=most, strip=bool(most))


class InferenceFilterSet(django_filters.FilterSet):
    """Parses the query string; ``inference_filter`` is the filter that it means."""

    _form_class: ClassVar[type[forms.Form] | None] = None

    class Meta:
        model = Inference
        fields: list[str] = []

    @classmethod
    def get_filters(cls) -> dict[str, django_filters.Filter]:
        found = {name: _field_of(each) for name, each in PARAMETERS.items()}
        return {**found, "q": _field(TextQueryField, label="Query")}

    def get_form_class(self) -> type[forms.Form]:
        # The fields are the same for all; each form copies them.
        made = type(self)._form_class
        if made is None:
            made = _WholeForm.made_of(super().get_form_class())
            type(self)._form_class = made
        return made

    @property
    def inference_filter(self) -> Filter:
        """Return the filter of all parameters together. Raises ``ValidationError`` if not valid."""
        if not self.is_valid():
            raise ValidationError(self.form.errors)
        found: Filter = self.form.cleaned_data["filter"]
        return found


class _WholeForm(forms.Form):
    """The form of the filter set; ``clean`` combines its fields to one filter."""

    @classmethod
    def made_of(cls, form: type[forms.Form]) -> type[forms.Form]:
        return type("InferenceFilterForm", (cls, form), {})

    def clean(self) -> dict[str, Any]:
        super().clean()
        if not self.errors:
            try:
                self.cleaned_data["filter"] = _filter_of(self.cleaned_data)
            except (
                ValueError
            ) as error:  # values that do not fit each other, or too many
                self.add_error(None, str(error))
        return self.cleaned_data


def _filter_of(given: dict[str, Any]) -> Filter:
    found: dict[str, Any] = {}
    for kind in KINDS:
        found |= kind.filters(given)
    of_intersection = {name: found.pop(name) for name in OF_INTERSECTION & found.keys()}
    return all_of([InferenceFilter(**of_intersection), *found.values(), given["q"]])


def parameters(filters: Filter) -> dict[str, list[str]]:
    """Return the query string of a filter: parameters where there are some, and ``q`` for the rest.

    Parsing it gives the filter's normal form again, except for the order of its parts.
    """
    found = normal(filters)
    given: dict[str, list[str]] = {}
    taken: set[str] = set()
    rest: list[Filter] = []
    for part in found.parts if isinstance(found, And) else (found,):
        written = _parameters(part)
        # Parameters that are joined are read as one filter, so each group is used once.
        groups = {
            PARAMETERS[name].joined or name
            for name in written
            if PARAMETERS[name].joined or not PARAMETERS[name].is_repeatable
        }
        if written and not taken & groups and _reads_as(written, part):
            taken |= groups
            for name, values in written.items():
                given[name] = [*given.get(name, []), *values]
        else:
            rest.append(part)
    if rest:
        given["q"] = [text.write(And(tuple(rest)))]
    return given


def _parameters(part: Filter) -> dict[str, list[str]]:
    """Return the parameters that mean this part; empty if there are none."""
    for parameter in PARAMETERS.values():
        for name, choice in parameter.choices.items():
            if choice == part:
                return {parameter.name: [name]}
    return part.parameters() if isinstance(part, Leaf) else {}


def _reads_as(written: dict[str, list[str]], part: Filter) -> bool:
    """Return whether the parameters parse back to the part; odd metadata keys do not."""
    query = QueryDict(mutable=True)
    for name, values in written.items():
        query.setlist(name, values)
    filterset = InferenceFilterSet(query, Inference.objects.none())
    if not filterset.is_valid():
        return False
    read = normal(filterset.inference_filter)
    # A relative time is another moment when parsed again, but has the same repr.
    return read == part or repr(read) == repr(part)
