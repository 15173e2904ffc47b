from __future__ import annotations

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from fltr_project.web import timeouts

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fltr_project.settings")

application = get_asgi_application()
# Django looks at the key on first use; a server without one must not start at all.
_ = settings.SECRET_KEY
timeouts.bound_connecting()
