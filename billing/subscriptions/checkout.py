"""How a customer subscribes and manages the subscription: on Stripe's own pages."""

from django.conf import settings
from django.urls import reverse

from accounts.models import Organization
from billing.gateway import checkout as hosted_checkout
from billing.gateway import customers
from billing.gateway.errors import StripeAway, StripeRefused
from billing.models import Subscription
from billing.subscriptions import catalog, items, syncing


class AlreadySubscribed(Exception):
    """There is a subscription: cards and invoices are in the portal."""


class NoCustomer(Exception):
    """The organization never began a checkout, so there is no portal to show."""


def begin(*, organization: Organization, email: str) -> str:
    """The address of a checkout page on which the organization subscribes.

    An earlier page that is still open is closed first, and of two that are begun at once one is left: if both
    were completed, both would bill.

    Raises:
        AlreadySubscribed, GatewayError
    """
    row = syncing.sync(syncing.get_or_create(organization))
    if row.is_live:
        raise AlreadySubscribed
    catalog.complete()
    row = _ensure_customer(row, email)
    # One that cannot be closed may have been completed a moment ago.
    is_closed = not row.checkout_id or hosted_checkout.expire(row.checkout_id)
    if not is_closed and syncing.sync(row).is_live:
        raise AlreadySubscribed
    billing_page = f"{settings.BASE_URL}{reverse('billing')}"
    session = hosted_checkout.begin(
        customer_id=str(row.customer_id),
        reference=str(row.reference),
        price_ids=[metered.stripe_price_id for metered in items.prices_on_offer()],
        # Stripe fills the id in.
        success_url=f"{settings.BASE_URL}{reverse('subscribed')}?checkout={{CHECKOUT_SESSION_ID}}",
        cancel_url=f"{billing_page}?checkout=left",
    )
    same = Subscription.objects.filter(
        pk=row.pk, customer_id=row.customer_id, checkout_id=row.checkout_id
    )
    if not same.update(checkout_id=session.id):
        # Somebody else began one meanwhile, and that one counts.
        hosted_checkout.expire(session.id)
        row.refresh_from_db()
        session = hosted_checkout.find(row.checkout_id)
    if not session.url:
        raise StripeAway("Stripe opened a checkout without an address.")
    return session.url


def _ensure_customer(row: Subscription, email: str) -> Subscription:
    """The row with a customer that exists at Stripe and has a name and an address there."""
    customer = customers.find(row.customer_id) if row.customer_id else None
    if row.customer_id and customer is None:
        row = syncing.forget_customer(row)
    if customer is None:
        made = customers.create(reference=str(row.reference))
        # Stripe gives the same customer to two that begin at once; of two customers the first one counts.
        Subscription.objects.filter(pk=row.pk, customer_id=None).update(customer_id=made)
        row.refresh_from_db()
    if customer is None or not customer.email:
        customers.describe(str(row.customer_id), name=row.organization.name, email=email)
    return row


def confirm(*, organization: Organization, checkout_id: str) -> bool:
    """Sync after the customer came back from checkout, before the webhook comes; returns whether they are subscribed.

    A checkout that is not completed, or somebody else's, changes nothing.

    Raises:
        GatewayError
    """
    row = syncing.get_or_create(organization)
    try:
        session = hosted_checkout.find(checkout_id)
    except StripeRefused:
        return False
    if session.reference != str(row.reference) or session.status != "complete":
        return False
    return syncing.sync(row).is_live


def open_portal(organization: Organization) -> str:
    """A fresh address of the portal, where cards, invoices and cancellation are.

    Raises:
        NoCustomer, GatewayError
    """
    row = syncing.get_or_create(organization)
    if not row.customer_id:
        raise NoCustomer
    catalog.complete()
    return hosted_checkout.open_portal(
        customer_id=row.customer_id,
        return_url=f"{settings.BASE_URL}{reverse('portal_left')}",
        configuration_id=catalog.portal_id(),
    )
