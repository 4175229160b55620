"""`manage.py resume_sending`: go on reporting use after Stripe had refused the key."""

from typing import Any

from django.core.management.base import BaseCommand

from billing.reporting import sending


class Command(BaseCommand):
    """Ends a pause by hand; another STRIPE_SECRET_KEY ends it by itself."""

    help = "Go on reporting use to Stripe, after a refused key had paused it."

    def handle(self, *_args: Any, **_options: Any) -> None:
        said = "Sending goes on." if sending.resume() else "Sending was not paused."
        self.stdout.write(said)
