"""`manage.py stripe_sync`: make products, meters, prices and the portal at Stripe, where they are missing."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.gateway.errors import GatewayError
from billing.models import Subscription
from billing.subscriptions import catalog, items, syncing


class Command(BaseCommand):
    """Products, meters, prices and the portal; then new prices become items of live subscriptions."""

    help = "Find or make products, meters, prices and the portal at Stripe, and bring new prices to subscriptions."

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            for line in catalog.sync():
                self.stdout.write(line)
            for row in list(Subscription.objects.filter(status__in=Subscription.LIVE)):
                if added := items.add_missing(row):
                    syncing.sync(row)
                    self.stdout.write(f"added    {added} prices to the subscription of {row.pk}")
        except (GatewayError, catalog.CatalogConflict) as error:
            raise CommandError(str(error)) from None
