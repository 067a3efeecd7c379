"""The web process: Django under WSGI."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from istore import lifeline

lifeline.hold()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")

application = get_wsgi_application()
