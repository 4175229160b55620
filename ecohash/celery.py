"""The Celery app. Its settings are the `CELERY_` names in settings.py."""

import os
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ecohash.settings")

app = Celery("ecohash")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.setup_logging.connect
def keep_our_logging(**_kwargs: Any) -> None:
    """Celery leaves logging alone when somebody answers this: settings.LOGGING is already in force."""
