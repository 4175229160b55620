"""Organizations in every state of payment, as `syncing.sync` would have written it."""

from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from billing.ledger import pricing
from billing.models import Credit, Subscription, SubscriptionItem
from tests.cast import Person


def subscribed(person: Person, status: str = "active", **fields: Any) -> Subscription:
    """The person's organization with a subscription of that status, ten days into its month."""
    now = timezone.now()
    name = f"{person.organization.pk}"
    known: dict[str, Any] = {
        "customer_id": f"cus_{name}",
        "subscription_id": f"sub_{name}",
        "status": status,
        "period_start": now - timedelta(days=10),
        "period_end": now + timedelta(days=20),
        "past_due_since": now if status == "past_due" else None,
    }
    row = Subscription.objects.create(organization=person.organization, **known | fields)
    for price in pricing.prices_in_force(pricing.DEFAULT_MODEL).values():
        SubscriptionItem.objects.create(
            subscription=row, price=price, item_id=f"si_{name}_{price.pk}"
        )
    return row


def without_credit(person: Person) -> None:
    """As if no more had been given than is spent and held."""
    used = F("posted_micros") + F("pending_micros")
    Credit.objects.filter(organization=person.organization).update(granted_micros=used)
