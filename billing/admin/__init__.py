"""What staff see of money, and do about it."""

from typing import Final

from django.db.models import Model

from billing import models
from billing.admin import money, payment, usage

__all__ = ["money", "payment", "usage"]

# What the lists are called; the models' own names are the field's nouns, and not everybody's.
PLAIN_NAMES: Final[dict[type[Model], tuple[str, str]]] = {
    models.Budget: ("monthly budget", "monthly budgets"),
    models.Credit: ("credit", "credit of each organization"),
    models.Hold: ("hold", "holds: money reserved or charged for an image"),
    models.LedgerEntry: ("ledger entry", "ledger"),
    models.MeteredPrice: ("price at Stripe", "prices at Stripe"),
    models.Notice: ("mail", "mails about money"),
    models.Refund: ("refund", "refunds"),
    models.SendingPause: ("pause", "pauses: nothing is reported to Stripe"),
    models.Subscription: ("subscription", "subscriptions"),
    models.UsageBatch: ("usage batch", "usage reported to Stripe"),
    models.WebhookEvent: ("event", "events from Stripe (webhooks)"),
}
for model, (one, many) in PLAIN_NAMES.items():
    model._meta.verbose_name, model._meta.verbose_name_plural = one, many  # noqa: SLF001 - Django's documented door
