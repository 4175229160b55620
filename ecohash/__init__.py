"""What spans the apps: settings, addresses, the Celery app, health, and the verbs that join two apps."""

from ecohash.celery import app as celery_app

__all__ = ("celery_app",)
