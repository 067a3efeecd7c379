"""The map of neighbours (t-SNE): laid out by a worker, kept, and extended to new vectors.

The task counts steps: one for the vectors, one for the neighbours, and each round of the
descent. Its points are written in one transaction at the end, so that a map is never half of
two. New vectors are placed among their nearest neighbours that have a point (inverse distance
weighting), which keeps the map as people know it; ``lay out anew`` is a new task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection, transaction

from inferences.embedding_maps.vectors import newest_vectors, vectors_of
from inferences.models import (
    Embedding,
    Inference,
    MapPoint,
    MapTask,
    RecentEmbedding,
    RegisteredModel,
)
from inferences.search.filters.map_area import current_layout
from istore.db.advisory_lock import AdvisoryLock
from istore.errors import Conflict
from istore.failpoints import failpoint
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import Failed

FEWEST = 10  # vectors; fewer have no neighbourhood worth drawing
PERPLEXITY = 30
COMPONENTS = 50  # to which vectors are reduced before neighbours are laid out
EARLY, LATE = 250, 500  # rounds of the descent, as the authors of t-SNE advise
ROUNDS_A_STEP = 10
STEPS = 2 + (EARLY + LATE) // ROUNDS_A_STEP
NEAREST = 10  # neighbours among which a new vector is placed
COMPARED_AT_ONCE = 1_000
EXTENDED_AT_ONCE = 2_000
# A map grows to so many times the points that are laid out, then it is to be laid out anew.
LARGEST_TIMES = 3
SIDE = 3.0  # of the map from its middle, in units of the axes

TABLE, ROWS = MapPoint._meta.db_table, Inference._meta.db_table
# Rows are locked in id order, as removals lock them; a row whose removal was intended is
# hidden, and gets no point.
HOLD = f"""
SELECT id FROM {ROWS} WHERE model_key = %(model)s AND NOT deleted
  AND id = ANY(%(ids)s::bigint[]) ORDER BY id FOR SHARE
"""
WRITE = f"""
WITH held AS MATERIALIZED ({HOLD})
INSERT INTO {TABLE} (model_key, id, x, y, nearest, distance)
SELECT %(model)s, made.* FROM unnest(%(ids)s::bigint[], %(x)s::real[], %(y)s::real[],
    %(nearest)s::bigint[], %(distance)s::real[]) AS made (id, x, y, nearest, distance)
JOIN held USING (id)
ON CONFLICT (model_key, id) DO NOTHING
"""
WITHOUT_POINT = f"""
SELECT side.id FROM (
    SELECT id FROM {Embedding._meta.db_table} WHERE model_key = %(model)s AND id > %(after)s
    UNION ALL
    SELECT id FROM {RecentEmbedding._meta.db_table}
    WHERE model_key = %(model)s AND id > %(after)s
) AS side
JOIN {ROWS} AS row ON row.model_key = %(model)s AND row.id = side.id AND NOT row.deleted
WHERE NOT EXISTS (
    SELECT 1 FROM {TABLE} AS place WHERE place.model_key = %(model)s AND place.id = side.id)
ORDER BY 1 DESC LIMIT {EXTENDED_AT_ONCE}
"""


def start(actor: object, model: RegisteredModel) -> MapTask:
    """Start to lay out the model's newest vectors. Raises ``Conflict`` while that goes on."""
    with transaction.atomic():
        RegisteredModel.objects.select_for_update(of=("self",)).get(pk=model.pk)
        last = model.map_tasks.order_by("-number").first()
        if last and last.is_active:
            raise Conflict("map-in-progress", "The map is being laid out already.")
        task: MapTask = model.map_tasks.create(
            number=last.number + 1 if last else 1,
            created_by=str(actor)[:300],
            expected_count=STEPS,
        )
        task.audit(actor, "create")
        task.notify()
    return task


def carry_out(task: MapTask) -> None:
    """Lay out the map of a task; nothing happens if another worker holds it."""
    if not task.claim():
        return
    with task.recording_outcome():
        model = task.registered_model
        ids, vectors = newest_vectors(model, settings.ISTORE_MAP_POINTS)
        if len(ids) < FEWEST:
            raise Failed(f"There are fewer than {FEWEST} vectors.")
        progress = Steps()
        keeper = LeaseKeeper(task, progress.fields)
        with keeper.in_background() as check:
            progress.count += 1
            nearest, distances = nearest_other(ids, vectors, ids, vectors, check)
            progress.count += 1
            places = lay_out(vectors, lambda: progress.step(check))
        failpoint("embedding_maps.laid_out")
        with transaction.atomic():
            _lock(model).wait_until_commit()
            # Removals lock rows before they delete points: so does this, or the two deadlock.
            _hold_rows(model, ids)
            MapPoint.objects.beside(model).delete()
            _write(model, ids, places, nearest, distances)
            # Filters take the points for those of the last complete task.
            task.complete(progress_count=STEPS, vectors=len(ids))


class Steps:
    """The number of steps that are done: the progress of a task."""

    def __init__(self) -> None:
        self.count = 0

    def fields(self) -> dict[str, int]:
        """Return the fields of the task."""
        return {"progress_count": self.count}

    def step(self, check: Callable[[], None]) -> None:
        """Count a step, after ``check``, which raises when the task is to end."""
        check()
        self.count += 1


def lay_out(vectors: np.ndarray, step: Callable[[], None]) -> np.ndarray:
    """Return a place for each vector, near to those of its neighbours; ``step`` every ten rounds.

    t-SNE (van der Maaten and Hinton 2008) of the vectors' first 50 components, begun with the
    first two.
    """
    import openTSNE
    from sklearn.decomposition import PCA

    reduced = vectors
    if min(vectors.shape) > COMPONENTS:
        reduction = PCA(COMPONENTS, svd_solver="randomized", random_state=0)
        reduced = reduction.fit_transform(vectors)
    raised: list[BaseException] = []

    def each_round(*_: Any) -> bool:
        try:
            step()
        except BaseException as error:
            raised.append(error)
            return True
        return False

    affinities = openTSNE.affinity.PerplexityBasedNN(
        reduced,
        perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3),
        random_state=0,
        n_jobs=1,
    )
    made = openTSNE.TSNEEmbedding(
        openTSNE.initialization.pca(reduced, random_state=0),
        affinities,
        random_state=0,
        n_jobs=1,
        callbacks=[each_round],
        callbacks_every_iters=ROUNDS_A_STEP,
    )
    for rounds, options in ((EARLY, {"exaggeration": 12, "momentum": 0.5}), (LATE, {})):
        made.optimize(rounds, inplace=True, **options)
        if raised:
            raise raised[0]
    places = np.asarray(made, np.float64)
    places -= places.mean(axis=0)
    widest = np.abs(places).max()
    return places * (SIDE / widest) if widest > 0 else places


def nearest_other(
    ids: np.ndarray,
    vectors: np.ndarray,
    of_ids: np.ndarray,
    of_vectors: np.ndarray,
    check: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each of ``of_vectors`` the id of the nearest other vector, and its distance."""
    nearest = np.empty(len(of_ids), np.int64)
    distances = np.empty(len(of_ids), np.float32)
    for first in range(0, len(of_ids), COMPARED_AT_ONCE):
        check()
        part = slice(first, first + COMPARED_AT_ONCE)
        likeness = of_vectors[part] @ vectors.T
        likeness[of_ids[part, None] == ids[None, :]] = -np.inf
        best = likeness.argmax(axis=1)
        nearest[part] = ids[best]
        distances[part] = 1 - likeness[np.arange(len(best)), best]
    return nearest, np.clip(distances, 0, 2)


def extend(model: RegisteredModel) -> int:
    """Place vectors that came after the map among their neighbours; return how many.

    The newest 2,000 at once, the others in the next rounds of beat.
    """
    with transaction.atomic():
        # From the first point that is read: a layout that replaces the map meanwhile would get
        # points at places of the former one.
        return _extend(model) if _lock(model).try_until_commit() else 0


def _extend(model: RegisteredModel) -> int:
    kept = list(MapPoint.objects.beside(model).values_list("id", "x", "y"))
    most = LARGEST_TIMES * settings.ISTORE_MAP_POINTS
    if current_layout(model) is None or not FEWEST <= len(kept) < most:
        return 0
    with connection.cursor() as cursor:
        oldest = min(row_id for row_id, _, _ in kept)
        cursor.execute(WITHOUT_POINT, {"model": model.pk, "after": oldest})
        new = [row_id for (row_id,) in cursor.fetchall()]
    if not new:
        return 0
    place_of = {row_id: (x, y) for row_id, x, y in kept}
    ids, vectors = vectors_of(model, sorted(place_of, reverse=True))
    of_ids, of_vectors = vectors_of(model, new)
    if len(ids) < NEAREST or not len(of_ids):
        return 0
    places = _among_neighbours(
        np.array([place_of[int(row_id)] for row_id in ids]), vectors, of_vectors
    )
    nearest, distances = nearest_other(ids, vectors, of_ids, of_vectors)
    _write(model, of_ids, places, nearest, distances)
    return len(of_ids)


def _among_neighbours(
    places: np.ndarray, vectors: np.ndarray, of_vectors: np.ndarray
) -> np.ndarray:
    """Return the mean place of the nearest vectors, weighted by their nearness."""
    likeness = of_vectors @ vectors.T
    best = np.argpartition(-likeness, NEAREST - 1, axis=1)[:, :NEAREST]
    rows = np.arange(len(of_vectors))[:, None]
    weights = 1 / (np.clip(1 - likeness[rows, best], 0, 2) + 1e-6)
    weights /= weights.sum(axis=1, keepdims=True)
    placed: np.ndarray = (places[best] * weights[:, :, None]).sum(axis=1)
    return placed


def extend_all() -> None:
    """Extend the maps of all models that have one."""
    keys = MapTask.objects.values_list("registered_model", flat=True).distinct()
    for model in RegisteredModel.objects.filter(pk__in=keys):
        extend(model)


def _lock(model: RegisteredModel) -> AdvisoryLock:
    """Return the lock of who writes points of the model."""
    return AdvisoryLock("inferences.embedding_maps", model.pk)


def _hold_rows(model: RegisteredModel, ids: np.ndarray) -> None:
    """Lock the rows that are to get a point, in id order, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD, {"model": model.pk, "ids": ids.tolist()})


def _write(
    model: RegisteredModel,
    ids: np.ndarray,
    places: np.ndarray,
    nearest: np.ndarray,
    distances: np.ndarray,
) -> None:
    values: dict[str, Any] = {
        "model": model.pk,
        "ids": ids.tolist(),
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "nearest": nearest.tolist(),
        "distance": distances.tolist(),
    }
    with connection.cursor() as cursor:
        cursor.execute(WRITE, values)
