"""The map of principal components, which is there at once.

Its basis is fitted on the newest vectors of a model when someone first asks for the map. From
then on every vector has its place, those to come included, and nothing is kept of any of them.
"""

from __future__ import annotations

import numpy as np
from django.db import transaction

from inferences.embedding_maps.vectors import newest_vectors
from inferences.models import MapBasis, RegisteredModel

FITTED_ON = 5_000  # vectors
FEWEST = 3
# Times as many vectors as the basis was fitted on, while they are few.
FITTED_AGAIN_AT = 4


def basis_of(model: RegisteredModel) -> MapBasis | None:
    """Return the newest basis of the model, fitted now if there is none; None for few vectors.

    A basis of very few vectors is followed by one of more, and stays for the links that name it.
    """
    newest = model.map_bases.order_by("-number").first()
    if newest and len(newest.first) != model.embedding_size:
        newest = None  # the model's vectors have another length now
    if newest and newest.fitted_on >= FITTED_ON / FITTED_AGAIN_AT:
        return newest
    _, vectors = newest_vectors(model, FITTED_ON)
    if len(vectors) < FEWEST:
        return newest
    if newest and len(vectors) < FITTED_AGAIN_AT * newest.fitted_on:
        return newest
    return _fit(model, vectors)


def _fit(model: RegisteredModel, vectors: np.ndarray) -> MapBasis:
    from sklearn.decomposition import PCA

    size = min(2, *vectors.shape)
    found = PCA(size, svd_solver="randomized", random_state=0).fit(vectors)
    axes = np.zeros((2, vectors.shape[1]))
    axes[:size] = found.components_
    means = axes @ found.mean_
    spread = float(np.sqrt(found.explained_variance_[0]))
    with transaction.atomic():
        # Two people may open the map at once: the row of the model orders them.
        RegisteredModel.objects.select_for_update(of=("self",)).get(pk=model.pk)
        last = model.map_bases.order_by("-number").first()
        return model.map_bases.create(
            number=last.number + 1 if last else 1,
            first=axes[0].tolist(),
            second=axes[1].tolist(),
            means=means.tolist(),
            unit=spread or 1.0,
            share=float(found.explained_variance_ratio_.sum()) if spread else 1.0,
            fitted_on=len(vectors),
        )
