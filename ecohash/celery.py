"""The Celery app. Its settings are the `CELERY_` names in settings.py."""

import os
import sys
from typing import Any

from celery import Celery, signals
from celery.loaders.app import AppLoader
from kombu.transport import redis, virtual

from ecohash.configuration import environment, logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ecohash.settings")
# Celery would run Django's checks too, and read no result.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")


class Loader(AppLoader):
    """Celery's own, except that settings that are refused end the process in plain lines."""

    def config_from_object(self, obj: Any, silent: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        with environment.exit_if_misconfigured():
            super().config_from_object(obj, silent=silent)


# By name: Celery looks whether that is Django's.
app = Celery("ecohash", loader="ecohash.celery:Loader")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class QoS(redis.QoS):
    """Kombu's, which gives a message's place in the prefetch window back also when its acknowledgment fails.

    Celery logs "Couldn't ack" and goes on. With kombu 5.7 the place then stayed taken, and with the last
    one gone the consumer asked for no message any more, for as long as its connection held. The message
    itself is delivered once more after the visibility timeout, as after any crash.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge the message; raises Redis's errors."""
        try:
            self._remove_from_indices(delivery_tag).execute()  # type: ignore[attr-defined]
        finally:
            virtual.QoS.ack(self, delivery_tag)


redis.Channel.QoS = QoS


@signals.setup_logging.connect
def keep_our_logging(**_kwargs: Any) -> None:
    """Celery leaves logging alone when somebody answers this: settings.LOGGING is already in force."""
    logs.log_uncaught_exceptions()


@signals.import_modules.connect
def check_before_work(**_kwargs: Any) -> None:
    """Where a worker or beat starts: before it loads an engine, and before it hears a message."""
    from ecohash.configuration import startup  # noqa: PLC0415 - Django is set up only now

    startup.check(writes="beat" in sys.argv)
