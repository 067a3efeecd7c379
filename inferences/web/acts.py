"""Acts on a selection of inferences: protect, tag, delete.

Each act takes two requests: the first, with the selection, shows what is meant and how many
they are. The second is sure, and carries what the act needs. ``acts.js`` shows the first in a
dialog over the list; without JavaScript it is a page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from inferences.erasure.chosen_records import Chosen
from inferences.erasure.running import open_erasure
from inferences.models import RegisteredModel
from inferences.models.metadata_values import MetadataValue, metadata_type
from inferences.store import metadata_edits, protection, removal, soft_deletion
from inferences.store.protection import Protection
from inferences.tasks import notify_removals
from inferences.web.access import holds_role, visible_model
from inferences.web.errors import sentence
from inferences.web.selection import Selected, question_of, select
from inferences.web.undo import sign_undo, unsign_undo, with_undo
from inferences.web.view_models.meant import first_meant
from istore.accounts.access import caller_of
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError
from istore.models import Role
from istore.web.pages import require

HIDDEN = "inferences.hidden"  # what the signed value of an undo is about
UNDO_FIELDS = (
    2000  # of a selection; the session keeps the form of an undo until it is shown
)
HOWS = ("soft", "hard", "erase")  # how a selection is deleted


@dataclass(frozen=True, slots=True)
class Act:
    """The texts of an act."""

    name: str
    verb: str
    explanation: str
    icon: str
    is_danger: bool = False


PROTECT = Act(
    "protect", "Protect", "Retention leaves protected inferences alone.", "shield"
)
UNPROTECT = Act(
    "unprotect", "Stop protecting", "Retention may remove them again.", "shield"
)
TAG = Act("tag", "Tag", "Each gets this metadata value, or keeps what it has.", "tag")
REMOVE = Act(
    "remove",
    "Delete",
    "They leave every list, count, statistic and export.",
    "trash",
    is_danger=True,
)
# Does the act, and returns what is told of it, or the page that tells it.
Do = Callable[[HttpRequest, RegisteredModel, Selected, int], str | HttpResponse]


def _act(request: HttpRequest, model_id: str, act: Act, do: Do) -> HttpResponse:
    model = visible_model(request, model_id, Role.EDITOR)
    asked = select(request)
    chosen = asked.until_now()
    browse = reverse("inferences:browse", args=[model.project, model.model_id])
    listed = request.POST.get("back") or request.POST.get("query", "")
    back = f"{browse}{question_of(listed).link()}"
    is_sure = request.POST.get("sure") == "true"
    limit = settings.ISTORE_BULK_DELETE_MAX
    try:
        if is_sure:
            asked.check()
        with statement_timeout():
            count = chosen.select(model).order_by()[: limit + 1].count()
    except ValidationError:
        messages.error(request, "A filter of this selection cannot be read.")
        return redirect(browse)
    except OperationalError:
        messages.error(request, "Counting them takes too long: narrow the filter.")
        return redirect(back)
    if not count:
        messages.error(request, "Nothing is selected.")
        return redirect(back)
    if count > limit:
        messages.error(
            request,
            f"More than {limit:,} are selected. Narrow the filter, or go in parts.",
        )
        return redirect(back)
    error = ""
    if is_sure:
        try:
            done = do(request, model, chosen, count)
            if isinstance(done, HttpResponse):
                return done
            # The list clears its selection when it sees "acted".
            messages.success(request, done, extra_tags="acted")
            return redirect(back)
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
        "chips": asked.question.chips if asked.question else [],
        "meant": first_meant(model, chosen.ids, chosen.question, chosen.excluded),
        "listed": listed,
        "back": back,
        "error": error,
        "given": request.POST,
        "types": ("string", "int", "float", "json"),
        "days": settings.ISTORE_SOFT_DELETE_DAYS,
        "may_erase": act is REMOVE and holds_role(request, Role.ADMINISTRATOR, model),
    }
    return render(request, "inferences/act.html", context, status=400 if error else 200)


def _them(count: int) -> str:
    return "this inference" if count == 1 else f"these {count:,} inferences"


def _count(count: int) -> str:
    return f"{count:,} inference{'' if count == 1 else 's'}"


def _back_to_list(request: HttpRequest, model: RegisteredModel) -> HttpResponse:
    browse = reverse("inferences:browse", args=[model.project, model.model_id])
    return redirect(f"{browse}{question_of(request.POST.get('back', '')).link()}")


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
    def do(
        request: HttpRequest, model: RegisteredModel, chosen: Selected, count: int
    ) -> str:
        reason = request.POST.get("reason", "").strip()
        if len(reason) > protection.REASON_MAX_CHARS or "\0" in reason:
            limit = protection.REASON_MAX_CHARS
            raise ValueError(f"A reason has at most {limit} characters, none a NUL.")
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
        message = f"{done.count:,} {word}.{late}{lost}"
        if were or not done.count or len(chosen.fields) > UNDO_FIELDS:
            return message
        undo = "unprotect" if is_protected else "protect"
        address = reverse(f"inferences:{undo}", args=[model.project, model.model_id])
        sure = [("sure", "true"), ("back", request.POST.get("back", ""))]
        return with_undo(request, message, address, [*sure, *chosen.fields])

    return do


@login_required
@require_POST
def tag(request: HttpRequest, model_id: str) -> HttpResponse:
    """Set a metadata value of the selected inferences."""
    return _act(request, model_id, TAG, _tag)


def _tag(
    request: HttpRequest, model: RegisteredModel, chosen: Selected, count: int
) -> str:
    given = request.POST
    type_ = metadata_type(given.get("type", ""))
    value = MetadataValue(given.get("key", "").strip(), type_, given.get("value", ""))
    since = metadata_edits.latest_change(model)
    changed = metadata_edits.put_values(
        caller_of(request),
        model,
        lambda: chosen.select(model),
        [value],
        replace=given.get("replace") == "true",
    )
    message = f"{_count(changed[value.key])} tagged with {value.key}."
    if not changed[value.key]:
        return message
    fields = {
        "key": value.key,
        "type": str(value.type),
        "value": value.text,
        "since": str(since),
        "until": str(metadata_edits.latest_change(model)),
        "back": given.get("back", ""),
    }
    address = reverse("inferences:untag", args=[model.project, model.model_id])
    return with_undo(request, message, address, list(fields.items()))


@login_required
@require_POST
def untag(request: HttpRequest, model_id: str) -> HttpResponse:
    """Undo a tag: restore the values that it replaced.

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
        messages.success(request, f"{_count(done.count)} as before the tag.{kept}")
    return _back_to_list(request, model)


@login_required
@require_POST
def remove(request: HttpRequest, model_id: str) -> HttpResponse:
    """Soft-delete the selected inferences; with ``how=hard`` remove them for good.

    With ``how=erase`` an administrator has them erased wherever they are, with a report.
    """
    return _act(request, model_id, REMOVE, _remove)


def _remove(
    request: HttpRequest, model: RegisteredModel, chosen: Selected, count: int
) -> str | HttpResponse:
    caller = caller_of(request)
    how = request.POST.get("how", "soft")
    if how not in HOWS:
        raise ValueError("Choose how to delete them: soft, hard or erase.")
    if how != "soft" and request.POST.get("number", "").strip() != str(count):
        verb = "erase" if how == "erase" else "delete"
        raise ValueError(f"Type {count} to {verb} {_them(count)} for good.")
    if how == "erase":
        return _erase(request, model, chosen, count)
    if how == "hard":
        batches = removal.intend_all(caller, model, lambda: chosen.select(model))
        removed = sum(map(len, batches))
        # The intents are durable. A lost queue message is sent again by beat.
        notify_removals(model.pk)
        return f"{_count(removed)} deleted for good."
    hidden = soft_deletion.hide_all(caller, model, lambda: chosen.select(model))
    message = f"{_count(sum(batch.count for batch in hidden))} deleted."
    if not hidden:
        return message
    batches_as_json = [
        [batch.at.isoformat(), batch.first, batch.last] for batch in hidden
    ]
    signed = sign_undo(request, HIDDEN, [model.pk, batches_as_json])
    address = reverse("inferences:unremove", args=[model.project, model.model_id])
    fields = [("hidden", signed), ("back", request.POST.get("back", ""))]
    return with_undo(request, message, address, fields)


def _erase(
    request: HttpRequest, model: RegisteredModel, chosen: Selected, count: int
) -> HttpResponse:
    """Begin an erasure of the selection, and lead to its report."""
    require(caller_of(request), Role.ADMINISTRATOR, model.project)
    why = request.POST.get("why", "").strip()
    if len(why) > protection.REASON_MAX_CHARS or "\0" in why:
        limit = protection.REASON_MAX_CHARS
        raise ValueError(f"A reason has at most {limit} characters, none a NUL.")
    row_ids = tuple(chosen.select(model).order_by().values_list("id", flat=True))
    if len(row_ids) != count:
        raise ValueError(f"They are {len(row_ids)} by now: look at them again.")
    meant = Chosen(model.model_id, row_ids)
    task = open_erasure(caller_of(request), model.project, meant, why=why)
    messages.success(request, "The erasure has begun.", extra_tags="acted")
    return redirect("inferences:erasure", model.project.project_id, task.pk)


@login_required
@require_POST
def unremove(request: HttpRequest, model_id: str) -> HttpResponse:
    """Undo a soft deletion of this person: an administrator is needed for all others.

    The signed value names the batches that the person hid, and nobody else can use it.
    """
    model = visible_model(request, model_id, Role.EDITOR)
    value = unsign_undo(request, HIDDEN, request.POST.get("hidden", ""))
    if value is None or value[0] != model.pk:
        messages.error(request, "This cannot be undone here any more.")
        return _back_to_list(request, model)
    batches = [soft_deletion.HiddenBatch.read(*batch) for batch in value[1]]
    done = soft_deletion.restore(
        caller_of(request), model, lambda: soft_deletion.find_hidden(model, batches)
    )
    if done.count:
        messages.success(request, f"{_count(done.count)} restored.")
    else:
        messages.error(request, "Nothing is restored: they are no longer there.")
    return _back_to_list(request, model)
