"""The web process: Django under WSGI."""

from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import resolve

from istore import lifeline

lifeline.hold()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")

application = get_wsgi_application()

# All views are loaded now, not by the first who calls; and what stays for good is not
# searched for garbage again, which held calls up for tenths of a second.
resolve("/")
gc.collect()
gc.freeze()
# A page of fifty holds thousands of objects for a moment, which is no reason to look for
# garbage: most calls would, several times. Cycles are few, and wait for some hundred calls.
gc.set_threshold(50_000, 10, 10)
