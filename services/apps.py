from __future__ import annotations

from django.apps import AppConfig


class ServicesConfig(AppConfig):
    name = "services"

    def ready(self) -> None:
        from inferences.search.vectors import text_embedding
        from istore.web import finding, rail
        from services import embedding, found

        text_embedding.embedders.register("services", embedding.embed)
        finding.sources.register("Services", found.find_services)
        place = rail.Place("plug", 40, rail.named("services:services"), ("services",))
        rail.places.register("Services", place)
