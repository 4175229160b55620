"""The project on top of the apps: settings, addresses, Celery, the web server, sign-up and `make up`."""

from ecohash.celery import app as celery_app

__all__ = ("celery_app",)
