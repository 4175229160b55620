"""`manage.py stripe_sync`: make products, meters, prices and the portal at Stripe, where they are missing."""

import math
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.gateway.errors import GatewayError
from billing.subscriptions import catalog, syncing


class Command(BaseCommand):
    """Products, meters, prices and the portal; then new prices become items of live subscriptions."""

    help = "Find or make products, meters, prices and the portal at Stripe, and bring new prices to subscriptions."

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            for line in catalog.sync():
                self.stdout.write(line)
            refreshed = syncing.refresh_subscriptions(seconds=math.inf)
            self.stdout.write(f"changed  the prices of {sum(refreshed)} subscriptions")
        except (GatewayError, catalog.CatalogConflict) as error:
            raise CommandError(str(error)) from None
