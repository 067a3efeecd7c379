"""The Django project, and the modules that every app shares."""

from istore.celery import app as celery_app

__all__ = ["celery_app"]
