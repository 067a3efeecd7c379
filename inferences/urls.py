"""The pages of models and their inferences."""

from django.urls import path, re_path

from inferences.web import (
    acts,
    browsing,
    cell_editing,
    completing,
    conversations,
    correcting,
    deleted,
    embedding_map,
    erasing,
    models,
    playground,
    prices,
    recolouring,
    record,
    reviewing,
    saved,
    statistics,
)
from istore.addresses import INFERENCE, MODEL, PROJECT, also_in_projects

app_name = "inferences"

ERASURE = rf"{PROJECT}/erasures/(?P<task_id>[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})"

urlpatterns = also_in_projects(
    [
        path("", models.models, name="models"),
        re_path(rf"^{PROJECT}/erasures$", erasing.erasures, name="erasures"),
        re_path(rf"^{ERASURE}$", erasing.erasure, name="erasure"),
        re_path(rf"^{ERASURE}/stop$", erasing.stop_erasure, name="stop-erasure"),
        re_path(rf"^{PROJECT}/prices$", prices.prices, name="prices"),
        re_path(
            rf"^{PROJECT}/prices/(?P<price>[0-9]{{1,9}})/remove$",
            prices.remove,
            name="remove-price",
        ),
        path("register", models.register, name="register"),
        re_path(rf"^{MODEL}/settings$", models.model_settings, name="settings"),
        re_path(rf"^{MODEL}/storage$", models.switch_storage, name="storage"),
        re_path(rf"^{MODEL}/text-index$", models.index_texts, name="index-texts"),
        re_path(rf"^{MODEL}/pin$", models.pin_model, name="pin"),
        re_path(rf"^{MODEL}/activity$", models.model_activity, name="activity"),
        re_path(rf"^{MODEL}/inferences$", browsing.browse, name="browse"),
        re_path(rf"^{MODEL}/review$", reviewing.review, name="review"),
        re_path(rf"^{MODEL}/colours$", recolouring.colours, name="colours"),
        re_path(rf"^{MODEL}/try$", playground.try_it, name="try"),
        re_path(rf"^{MODEL}/tried$", playground.tried, name="tried"),
        re_path(rf"^{MODEL}/views$", saved.save, name="saved-views"),
        re_path(
            rf"^{MODEL}/views/(?P<view_id>[0-9]{{1,9}})$",
            saved.change,
            name="saved-view",
        ),
        re_path(rf"^{MODEL}/statistics$", statistics.statistics, name="statistics"),
        re_path(rf"^{MODEL}/embeddings$", embedding_map.show_map, name="map"),
        re_path(
            rf"^{MODEL}/embeddings/layout$", embedding_map.start_map, name="start-map"
        ),
        re_path(rf"^{MODEL}/value$", cell_editing.edit_value, name="edit-value"),
        re_path(rf"^{MODEL}/values$", completing.values, name="values"),
        re_path(rf"^{MODEL}/facets$", browsing.facets, name="facets"),
        re_path(rf"^{MODEL}/facets/key$", browsing.one_key, name="one-key"),
        re_path(rf"^{MODEL}/session$", conversations.session, name="session"),
        re_path(rf"^{MODEL}/compare$", conversations.compare, name="compare"),
        re_path(rf"^{MODEL}/selection/protect$", acts.protect, name="protect"),
        re_path(rf"^{MODEL}/selection/unprotect$", acts.unprotect, name="unprotect"),
        re_path(rf"^{MODEL}/selection/tag$", acts.tag, name="tag"),
        re_path(rf"^{MODEL}/selection/untag$", acts.untag, name="untag"),
        re_path(rf"^{MODEL}/selection/remove$", acts.remove, name="remove"),
        re_path(rf"^{MODEL}/selection/unremove$", acts.unremove, name="unremove"),
        re_path(rf"^{MODEL}/deleted$", deleted.deleted, name="deleted"),
        re_path(
            rf"^{MODEL}/deleted/change$", deleted.change_deleted, name="change-deleted"
        ),
        # An inference id may end like one of these paths. Views that only read then show the
        # inference whose id is the whole path.
        re_path(
            rf"^{INFERENCE}/change-metadata$",
            correcting.change_metadata,
            name="change-metadata",
        ),
        re_path(
            rf"^{INFERENCE}/change-truth$", correcting.change_truth, name="change-truth"
        ),
        re_path(
            rf"^{INFERENCE}/change-protection$",
            correcting.change_protection,
            name="change-protection",
        ),
        re_path(rf"^{INFERENCE}/turns$", conversations.turns, name="turns"),
        re_path(rf"^{INFERENCE}/similar$", record.similar, name="similar"),
        re_path(
            rf"^{INFERENCE}/(?P<kind>input|answer|preview|part)$",
            record.media,
            name="media",
        ),
        re_path(rf"^{INFERENCE}$", record.detail, name="detail"),
    ]
)
