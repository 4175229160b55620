"""The Celery app. Its settings are the `CELERY_` names in settings.py."""

import os
import sys
from typing import Any

from celery import Celery, signals
from celery.loaders.app import AppLoader

from ecohash import environment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ecohash.settings")
# Celery would run Django's checks too, and read no result.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")


class Loader(AppLoader):
    """Celery's own, except that settings that are refused end the process in plain lines."""

    def config_from_object(self, obj: Any, silent: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        with environment.plainly():
            super().config_from_object(obj, silent=silent)


# By name: Celery looks whether that is Django's.
app = Celery("ecohash", loader="ecohash.celery:Loader")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.setup_logging.connect
def keep_our_logging(**_kwargs: Any) -> None:
    """Celery leaves logging alone when somebody answers this: settings.LOGGING is already in force."""


@signals.import_modules.connect
def check_before_work(**_kwargs: Any) -> None:
    """Where a worker or beat starts: before it loads an engine, and before it hears a message."""
    from ecohash import startup  # noqa: PLC0415 - Django is set up only now

    startup.check(writes="beat" in sys.argv)
