"""Organizations in every state of payment, and what their billing page says."""

from datetime import timedelta
from typing import Any

from django.db.models import F
from django.test import Client
from django.utils import timezone

from accounts.models import Organization
from billing.ledger import pricing
from billing.models import Credit, Subscription, SubscriptionItem
from tests.cast import Person
from tests.html import flat

BILLING = "/dashboard/billing"
SUBSCRIBE = f"{BILLING}/subscribe"
PORTAL = f"{BILLING}/portal"
INVOICES = f"{BILLING}/invoices"
SUBSCRIBED = f"{BILLING}/subscribed"
BACK = f"{BILLING}/back"
WEBHOOK = "/webhooks/stripe"
AWAY = "Stripe cannot be reached at the moment."
FORM = f'action="{SUBSCRIBE}"'
TO_PORTAL = f'action="{PORTAL}"'


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


def text_of(client: Client, path: str = BILLING, **query: str) -> str:
    """The page on one line."""
    answer = client.get(path, query)
    assert answer.status_code == 200
    return flat(answer.content.decode())


def said(answer: Any) -> str:
    """The one message of the page that a redirect led to."""
    [message] = answer.context["messages"]
    return str(message)


def cap_of(person: Person) -> int | None:
    return Organization.objects.get(pk=person.organization.pk).monthly_cap_micros


def send_event(client: Client, body: bytes, signature: str) -> Any:
    return client.post(
        WEBHOOK, body, content_type="application/json", headers={"Stripe-Signature": signature}
    )
