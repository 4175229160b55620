"""`manage.py stripe_sandbox`: run the Stripe sandbox of this machine, which takes no real money."""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Serve tools/stripe_sandbox with this platform's key, secret, port and folder."""

    help = "Serve a Stripe of our own for development: the API, Checkout, the portal and invoices."

    def handle(self, *_args: Any, **_options: Any) -> None:
        if settings.PRODUCTION and "stripe" not in settings.ALLOWED_STAND_INS:
            raise CommandError(
                "The Stripe sandbox does not run in production. Set STRIPE_SECRET_KEY to a key of "
                "Stripe's and unset STRIPE_API_BASE, or add stripe to ALLOWED_STAND_INS."
            )
        settings.VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        gunicorn = ["-m", "gunicorn", "-c", "python:tools.stripe_sandbox.gunicorn_conf"]
        words = [sys.executable, *marks(sys.orig_argv), *gunicorn, "tools.stripe_sandbox.wsgi"]
        os.chdir(settings.BASE_DIR)
        os.execve(sys.executable, words, os.environ | environment())  # noqa: S606 - our own program


def environment() -> dict[str, str]:
    """The environment of the sandbox, which does not read our settings."""
    return {
        "DJANGO_SETTINGS_MODULE": "tools.stripe_sandbox.settings",
        "ECOHASH_ENV": settings.ECOHASH_ENV,
        "STRIPE_SANDBOX_PORT": str(settings.STRIPE_SANDBOX_PORT),
        "STRIPE_SANDBOX_WEBHOOK_URL": f"http://127.0.0.1:{settings.PORT}/webhooks/stripe",
        "STRIPE_SECRET_KEY": settings.STRIPE_SECRET_KEY,
        "STRIPE_WEBHOOK_SECRET": settings.STRIPE_WEBHOOK_SECRET,
        "VAR_DIR": str(settings.VAR_DIR),
        # Meant for the web tier, but gunicorn reads it everywhere.
        "WEB_CONCURRENCY": "1",
    }


def marks(command_line: list[str]) -> list[str]:
    """The `-X ecohash=...` by which the supervisor knows its processes; exec must not lose it."""
    for index, word in enumerate(command_line[:-1]):
        if word == "-X" and command_line[index + 1].startswith("ecohash="):
            return command_line[index : index + 2]
    return []
