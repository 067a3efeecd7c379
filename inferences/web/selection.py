"""Actions on a selection of inferences: protect, label, remove.

Each action takes two requests: the first, with the selection, shows how many inferences it
has. The second carries what the action needs; for a removal that includes the number
shown. Both work without JavaScript.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from inferences.models import InferenceQuerySet, RegisteredModel
from inferences.models.metadata_values import MetadataValue, metadata_type
from inferences.search.rare_label_scan import all_matching
from inferences.store import metadata_edits, protection, removal
from inferences.store.lookup import row_ids_of
from inferences.store.protection import Protection
from inferences.tasks import notify_removals
from inferences.web.access import visible_model
from inferences.web.errors import sentence
from inferences.web.undo import with_undo
from inferences.web.view_models.questions import Question, check_says_something
from istore.accounts.access import caller_of
from istore.db import clock
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError
from istore.models import Role


@dataclass(frozen=True, slots=True)
class Selected:
    """A selection: inferences by id, or all that ``question`` finds except ``excluded``."""

    ids: tuple[str, ...] = ()
    question: Question | None = None
    excluded: tuple[str, ...] = ()

    @property
    def query(self) -> str:
        return self.question.link() if self.question else ""

    def until_now(self) -> Selected:
        """Return the selection limited to now, so that later arrivals are not part of it."""
        if self.question is None or "until" in self.question.query:
            return self
        now = clock.now().isoformat().replace("+00:00", "Z")
        question = _question_of(self.question.link(until=now))
        return Selected(question=question, excluded=self.excluded)

    def check(self) -> None:
        """Raise ``ValidationError`` if a part of the question would silently select everything."""
        if self.question:
            check_says_something(self.question.given)

    def select(self, model: RegisteredModel) -> InferenceQuerySet:
        """Return the selected inferences. Raises ``ValidationError`` if a filter is not valid."""
        if self.question:
            found = all_matching(model, self.question.filters)
            if not self.excluded:
                return found
            return found.exclude(
                id__in=sorted(row_ids_of(model, self.excluded).values())
            )
        ids = list(row_ids_of(model, self.ids).values())
        return model.inferences.live_among(ids)


def select(request: HttpRequest) -> Selected:
    """Return the selection that a list posts.

    That is ``inference_id``, or ``everything`` of ``query`` except ``exclude_inference_id``.
    """
    given = request.POST if request.method == "POST" else request.GET
    if given.get("everything") == "true":
        return Selected(
            question=Question(QueryDict(given.get("query", "").lstrip("?"))),
            excluded=tuple(dict.fromkeys(given.getlist("exclude_inference_id"))),
        )
    return Selected(tuple(dict.fromkeys(given.getlist("inference_id"))))


def _question_of(query: str) -> Question:
    return Question(QueryDict(query.removeprefix("?")))


@dataclass(frozen=True, slots=True)
class Act:
    """The texts and the template of an action."""

    name: str
    verb: str
    said: str
    icon: str
    is_final: bool = False


PROTECT = Act(
    "protect", "Protect", "Retention leaves protected inferences alone.", "shield"
)
UNPROTECT = Act(
    "unprotect", "Stop protecting", "Retention may remove them again.", "shield"
)
LABEL = Act(
    "label", "Label", "Each gets this metadata value, or keeps what it has.", "tag"
)
REMOVE = Act(
    "remove",
    "Delete",
    "The records, their inputs and answers are gone for good. Nothing brings them back.",
    "trash",
    is_final=True,
)
Do = Callable[[HttpRequest, RegisteredModel, Selected], str]


def _act(request: HttpRequest, model_id: str, act: Act, do: Do) -> HttpResponse:
    model = visible_model(request, model_id, Role.EDITOR)
    asked = select(request)
    chosen = asked.until_now()
    back = reverse("inferences:browse", args=[model.project, model.model_id])
    listed = request.POST.get("back") or request.POST.get("query", "")
    here = f"{back}{_question_of(listed).link()}"
    most = settings.ISTORE_BULK_DELETE_MAX
    try:
        if request.POST.get("sure") == "true":
            asked.check()
        with statement_timeout():
            count = chosen.select(model).order_by()[: most + 1].count()
    except ValidationError:
        messages.error(request, "A filter of this selection cannot be read.")
        return redirect(back)
    except OperationalError:
        messages.error(request, "Counting them takes too long: narrow the filter.")
        return redirect(here)
    if not count:
        messages.error(request, "Nothing is selected.")
        return redirect(here)
    if count > most:
        messages.error(
            request,
            f"More than {most:,} are selected. Narrow the filter, or go in parts.",
        )
        return redirect(here)
    error = ""
    if request.POST.get("sure") == "true":
        try:
            if act.is_final and request.POST.get("number", "").strip() != str(count):
                raise ValueError(f"Type {count} to delete {_them(count)}.")
            # The page clears its selection when it sees "acted".
            messages.success(request, do(request, model, chosen), extra_tags="acted")
            return redirect(here)
        except ValueError as problem:
            error = str(problem)
        except StoreError as problem:
            error = sentence(problem)
    context = {
        "model": model,
        "act": act,
        "count": count,
        "them": _them(count),
        "selected": chosen,
        "query": chosen.query,
        "listed": listed,
        "back": here,
        "error": error,
        "given": request.POST,
        "types": ("string", "int", "float", "json"),
    }
    return render(request, "inferences/act.html", context, status=400 if error else 200)


def _them(count: int) -> str:
    return "this inference" if count == 1 else f"these {count:,} inferences"


@login_required
@require_POST
def protect(request: HttpRequest, model_id: str) -> HttpResponse:
    """Protect the selected inferences."""
    return _act(request, model_id, PROTECT, _protect(True))


@login_required
@require_POST
def unprotect(request: HttpRequest, model_id: str) -> HttpResponse:
    """End the protection of the selected inferences."""
    return _act(request, model_id, UNPROTECT, _protect(False))


def _protect(is_protected: bool) -> Do:
    def do(request: HttpRequest, model: RegisteredModel, chosen: Selected) -> str:
        reason = request.POST.get("reason", "").strip()
        if len(reason) > protection.REASON_MAX_CHARS or "\0" in reason:
            most = protection.REASON_MAX_CHARS
            raise ValueError(f"A reason has at most {most} characters, none a NUL.")
        wanted = Protection(is_protected, reason)
        # Undo would also change inferences that had this state before, so it is not offered.
        were = chosen.select(model).filter(is_protected=is_protected).exists()
        done = protection.protect_all(
            caller_of(request), model, lambda: chosen.select(model), wanted
        )
        word = "protected" if is_protected else "no longer protected"
        late = f" {done.being_removed:,} came too late." if done.being_removed else ""
        gone = done.input_expired
        lost = (
            f" {gone:,} had lost their input: their records are kept." if gone else ""
        )
        said = f"{done.count:,} {word}.{late}{lost}"
        if were or not done.count:
            return said
        undo = "unprotect" if is_protected else "protect"
        address = reverse(f"inferences:{undo}", args=[model.project, model.model_id])
        return with_undo(request, said, address, _fields(request, chosen))

    return do


def _fields(request: HttpRequest, chosen: Selected) -> list[tuple[str, str]]:
    """Return the fields of a form that confirms an action on the selection."""
    fields = [("sure", "true"), ("back", request.POST.get("back", ""))]
    if chosen.question:
        excluded = [("exclude_inference_id", each) for each in chosen.excluded]
        return [*fields, ("everything", "true"), ("query", chosen.query), *excluded]
    return [*fields, *(("inference_id", each) for each in chosen.ids)]


@login_required
@require_POST
def label(request: HttpRequest, model_id: str) -> HttpResponse:
    """Set a metadata value of the selected inferences."""
    return _act(request, model_id, LABEL, _label)


def _label(request: HttpRequest, model: RegisteredModel, chosen: Selected) -> str:
    given = request.POST
    type_ = metadata_type(given.get("type", ""))
    value = MetadataValue(given.get("key", "").strip(), type_, given.get("value", ""))
    since = metadata_edits.latest_change()
    changed = metadata_edits.put_values(
        caller_of(request),
        model,
        lambda: chosen.select(model),
        [value],
        replace=given.get("replace") == "true",
    )
    count = changed[value.key]
    said = f"{_count(count)} labelled with {value.key}."
    if not count:
        return said
    fields = {
        "key": value.key,
        "type": str(value.type),
        "value": value.text,
        "since": str(since),
        "until": str(metadata_edits.latest_change()),
        "back": given.get("back", ""),
    }
    address = reverse("inferences:unlabel", args=[model.project, model.model_id])
    return with_undo(request, said, address, list(fields.items()))


def _count(count: int) -> str:
    return f"{count:,} inference{'' if count == 1 else 's'}"


@login_required
@require_POST
def unlabel(request: HttpRequest, model_id: str) -> HttpResponse:
    """Undo a label: restore the values that it replaced.

    Undone are the changes of this person, numbered above ``since`` up to ``until``, that gave
    ``key`` this value.
    """
    model = visible_model(request, model_id, Role.EDITOR)
    given = request.POST
    try:
        since, until = int(given.get("since", "")), int(given.get("until", ""))
        type_ = metadata_type(given.get("type", ""))
        value = MetadataValue(given.get("key", ""), type_, given.get("value", ""))
        done = metadata_edits.take_back(
            caller_of(request), model, value, (since, until)
        )
    except (ValueError, OverflowError) as problem:
        messages.error(request, f"Not taken back: {problem}")
    except StoreError as problem:
        messages.error(request, f"Not taken back: {sentence(problem)}")
    else:
        kept = f" {done.kept:,} changed meanwhile and stay." if done.kept else ""
        messages.success(request, f"{_count(done.count)} as before the label.{kept}")
    here = reverse("inferences:browse", args=[model.project, model.model_id])
    return redirect(f"{here}{_question_of(given.get('back', '')).link()}")


@login_required
@require_POST
def remove(request: HttpRequest, model_id: str) -> HttpResponse:
    """Permanently remove the selected inferences."""
    return _act(request, model_id, REMOVE, _remove)


def _remove(request: HttpRequest, model: RegisteredModel, chosen: Selected) -> str:
    batches = removal.intend_all(
        caller_of(request), model, lambda: chosen.select(model)
    )
    count = sum(map(len, batches))
    # The intents are durable. A lost queue message is sent again by beat.
    notify_removals(model.pk)
    return f"{_count(count)} deleted."
