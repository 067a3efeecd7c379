"""The open inference protocol in front of model servers: a raw ASGI application.

``granian --interface asginl proxy.asgi:application``, one worker. It stands beside
Django's request cycle, not in it, and shares settings, models and tokens with it.
"""

from __future__ import annotations

import gc
import os

import django

from istore import lifeline

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
django.setup()
lifeline.hold()

from proxy.app import Application  # noqa: E402
from proxy.inference_handler import Proxy  # noqa: E402

application = Application(Proxy())

# The objects made so far stay for ever. Frozen, they are no longer scanned by garbage
# collections, for which calls would have to wait.
gc.collect()
gc.freeze()
