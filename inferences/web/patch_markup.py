"""The HTML of patches: parts of pictures, each with what was found there (``list_markup``)."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.safestring import SafeString

from inferences.models import RegisteredModel
from inferences.web.answer_markup import write_score
from inferences.web.list_markup import ListMarkup
from inferences.web.picture_markup import write_patch
from inferences.web.view_models.patches import Patch
from istore.web.escaping import escape


class PatchMarkup:
    """Writes the patches of a list; ``within`` is the query string of links to inferences."""

    def __init__(self, model: RegisteredModel, within: str = "") -> None:
        self._markup = ListMarkup(model)
        self._within = escape(within)

    def patches(self, patches: Iterable[Patch], sizes: str) -> SafeString:
        """Return the items of a gallery of patches; ``sizes`` are those of plain and dense screens."""
        return SafeString("".join(self._patch(patch, sizes) for patch in patches))

    def _patch(self, patch: Patch, sizes: str) -> str:
        found, name = patch.found, escape(patch.inference.inference_id)
        address = self._markup.address_of(patch.inference.inference_id)
        label, score = escape(found.label), write_score(found.score, 2)
        shown = write_patch(patch, f"{address}/preview", sizes)
        verdict = found.verdict
        kind = "ground truth" if patch.is_true else "answer"
        words = [f"{kind}: {label} {score}".strip()]
        mark = ""
        if verdict:
            words.append(verdict.title)
            mark = (
                f'<p class="marks verdict-mark {verdict.kind}"><span>{verdict.mark}</span>'
                f'<span class="number">{verdict.overlap:.2f}</span></p>'
            )
        if patch.others:
            words.append(f"{patch.others} more of this inference")
        more = f" <span>+{patch.others}</span>" if patch.others else ""
        link = f'<a href="{address}{self._within}" title="{name}">{name}</a>'
        part = f", {label} {score}".rstrip()
        said = "".join(f"<p>{word}</p>" for word in words)
        return (
            f'<li class="card panel patch{" true" if patch.is_true else ""} ratio-{patch.ratio}" '
            f'data-id="{name}"><div class="stage">{shown}</div>'
            f'<p class="class-tag hue-{found.hue}">{label} <span>{score}</span>{more}</p>{mark}'
            f'<div class="caption"><p class="id mono">{link}</p>'
            f'<div class="said">{said}</div></div>'
            f'<label class="pick"><input type="checkbox" data-select value="{name}" '
            f'name="inference_id" form="selection" aria-label="Select {name}{part}">'
            "</label></li>"
        )
