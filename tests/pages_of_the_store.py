"""Every page of the store by the name of its route, and the routes that are no pages.

A page of these tests is an address with whatever it needs in the store: see ``full_store`` of
``test_browser_every_page``.
"""

from __future__ import annotations

MODEL = "/projects/harbour/models/yolo-harbour"
ONE = f"{MODEL}/inferences/harbour/1"
CHATS = "/projects/harbour/models/support"
DATASET = "/projects/harbour/datasets/ships"

# A name may have several addresses: states of one page that look different. {} are ids of tasks.
PAGES = {
    "inferences:models": ["/", "/?view=table&project=harbour", "/?q=nobody"],
    "inferences:register": ["/register"],
    "inferences:browse": [
        f"{MODEL}/inferences",
        f"{MODEL}/inferences?view=table&metadata=camera=north&source=x",
        f"{MODEL}/inferences?view=table&density=compact",
        f"{MODEL}/inferences?since=x",
        f"{MODEL}/inferences?label=nothing",
        f"{MODEL}/inferences?view=patches",
        f"{MODEL}/inferences?view=table&group=label",
        f"{CHATS}/inferences?said=tide",
        "/models/wine/inferences",
    ],
    "inferences:detail": [
        ONE,
        "/models/wine/inferences/bottle",
        f"{CHATS}/inferences/a",
    ],
    "inferences:statistics": [
        f"{MODEL}/statistics?text=label:ship&vs=label:crane&of=frame:int",
        f"{MODEL}/statistics?by=label",
    ],
    "inferences:map": ["/models/faces/embeddings"],
    "inferences:review": [f"{MODEL}/review", f"{MODEL}/review?at=harbour/0"],
    "inferences:session": [f"{CHATS}/session?key=session&value=s-1"],
    "inferences:compare": [f"{CHATS}/compare?a=a&b=b"],
    "inferences:turns": [f"{CHATS}/inferences/a/turns"],
    "inferences:edit-value": [f"{MODEL}/value?inference_id=harbour/1&key=camera"],
    "inferences:prices": ["/projects/harbour/prices"],
    "exports:lake": ["/exports/lake", "/exports/lake?sql=SELECT+1"],
    "traces:overview": ["/traces"],
    "traces:traces": [
        "/projects/harbour/traces",
        "/projects/harbour/traces?status=error&name=x",
    ],
    "traces:trace": ["/projects/harbour/traces/{trace}"],
    "inferences:colours": [f"{MODEL}/colours"],
    "inferences:settings": [f"{MODEL}/settings"],
    "inferences:try": [f"{MODEL}/try"],
    "inferences:deleted": [f"{MODEL}/deleted", "/models/wine/deleted"],
    "inferences:erasures": ["/projects/harbour/erasures"],
    "inferences:erasure": ["/projects/harbour/erasures/{erasure}"],
    "quality:page": [f"{MODEL}/quality", "/models/wine/quality"],
    "retention:policy": [f"{MODEL}/retention", "/models/wine/retention"],
    "retention:tasks": [f"{MODEL}/retention/tasks"],
    "retention:task": [f"{MODEL}/retention/tasks/{{retention}}"],
    "exports:overview": ["/exports", "/exports?state=failed"],
    "exports:list": [f"{MODEL}/exports"],
    "exports:new": [f"{MODEL}/exports/new"],
    "exports:task": [f"{MODEL}/exports/{{export}}"],
    "exports:schedules": [f"{MODEL}/exports/schedules"],
    "exports:schedule": [f"{MODEL}/exports/schedules/{{schedule}}"],
    "datasets:overview": ["/datasets"],
    "datasets:datasets": ["/projects/harbour/datasets"],
    "datasets:dataset": [DATASET],
    "datasets:version": [f"{DATASET}/versions/1"],
    "datasets:entry": [f"{DATASET}/entries/{{entry}}"],
    "datasets:version-entry": [f"{DATASET}/versions/1/entries/{{entry}}"],
    "datasets:distribution": [f"{DATASET}/distribution"],
    "datasets:versions": [f"{DATASET}/versions"],
    "datasets:duplicates": [f"{DATASET}/duplicates"],
    "datasets:settings": [f"{DATASET}/settings"],
    "datasets:downloads": [f"{DATASET}/downloads"],
    "datasets:of-model": [f"{MODEL}/datasets"],
    "datasets:compare": [f"{DATASET}/compare"],
    "datasets:add": [f"{MODEL}/add-to-dataset"],
    "services:services": ["/services"],
    "services:new": ["/services/new"],
    "services:service": ["/services/{service}"],
    "operations": ["/operations"],
    "find": ["/find?q=harbour", "/find?q=nobody"],
    "projects": ["/projects"],
    "new-project": ["/projects/new"],
    "tokens": ["/projects/harbour/tokens"],
    "members": ["/projects/harbour/members"],
    "password": ["/password"],
    "login": ["/login"],
}

# Forms that lead to a page, parts of pages, files, and what others serve.
NO_PAGES = {
    *("schema", "api-docs", "verify-now", "theme", "logout", "logout-everywhere"),
    *("revoke-left", "revoke", "change-member"),
    *(
        f"exports:{name}"
        for name in ("start", "schedule-run", "schedule-delete", "lake-drop")
    ),
    *("exports:stop", "exports:retry", "exports:archive", "exports:manifest"),
    *(f"inferences:{name}" for name in ("storage", "pin", "activity", "tried")),
    *(f"inferences:{name}" for name in ("saved-views", "saved-view", "start-map")),
    *(f"inferences:{name}" for name in ("values", "facets", "one-key", "media")),
    *(f"inferences:{name}" for name in ("protect", "unprotect", "tag", "untag")),
    *(f"inferences:{name}" for name in ("remove", "unremove", "change-deleted")),
    *(f"inferences:change-{name}" for name in ("metadata", "truth", "protection")),
    *("inferences:stop-erasure", "inferences:similar"),
    *("inferences:index-texts", "inferences:remove-price"),
    *(f"services:{name}" for name in ("mock", "delete", "start", "terminate", "call")),
    *(f"retention:{name}" for name in ("preview", "stop", "resume")),
    *(f"datasets:{name}" for name in ("picture", "publish", "split", "remove")),
    *(f"datasets:{name}" for name in ("put-back", "delete", "archive")),
    *(f"datasets:{name}" for name in ("move", "keep", "download")),
    *(f"datasets:{name}" for name in ("archive-row", "archive-file")),
    *(f"datasets:{name}" for name in ("addition-row", "addition-stop")),
}
