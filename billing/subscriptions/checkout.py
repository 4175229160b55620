"""How a subscription begins and is looked after: on Stripe's own pages, to which we lead and from which we hear."""

from django.conf import settings
from django.urls import reverse

from accounts.models import Organization
from billing.gateway import checkout as hosted_checkout
from billing.gateway import customers
from billing.gateway.errors import StripeAway, StripeRefused
from billing.models import Subscription
from billing.subscriptions import catalog, subscriptions


class AlreadySubscribed(Exception):
    """There is a subscription: cards and invoices are in the portal."""


class NoCustomer(Exception):
    """The organisation never began a checkout, so there is no portal to show."""


def begin(*, organization: Organization, email: str) -> str:
    """The address of a checkout page on which the organisation subscribes.

    One that was begun and is still open is closed first: completed both, they would bill twice.

    Raises:
        AlreadySubscribed, GatewayError
    """
    row = subscriptions.sync(subscriptions.of(organization))
    if row.is_live:
        raise AlreadySubscribed
    catalog.complete()
    row = _with_customer(row, email)
    if row.checkout_id:
        hosted_checkout.expire(row.checkout_id)
    billing_page = f"{settings.BASE_URL}{reverse('billing')}"
    session = hosted_checkout.begin(
        customer_id=str(row.customer_id),
        reference=str(row.reference),
        price_ids=[metered.stripe_price_id for metered in subscriptions.prices_on_offer()],
        # Stripe fills the id in.
        success_url=f"{settings.BASE_URL}{reverse('subscribed')}?checkout={{CHECKOUT_SESSION_ID}}",
        cancel_url=f"{billing_page}?checkout=left",
    )
    Subscription.objects.filter(pk=row.pk).update(checkout_id=session.id)
    if not session.url:
        raise StripeAway("Stripe opened a checkout without an address.")
    return session.url


def _with_customer(row: Subscription, email: str) -> Subscription:
    """The row with a customer that exists at Stripe."""
    if row.customer_id and customers.exists(row.customer_id):
        return row
    if row.customer_id:
        row = subscriptions.forget_customer(row)
    made = customers.create(reference=str(row.reference), name=row.organization.name, email=email)
    # Two who begin at once are told of the same customer by Stripe.
    Subscription.objects.filter(pk=row.pk, customer_id=None).update(customer_id=made)
    row.refresh_from_db()
    return row


def returned(*, organization: Organization, checkout_id: str) -> bool:
    """The customer came back from checkout: look now rather than wait for the webhook.

    False for somebody else's checkout, or one that was not completed.

    Raises:
        GatewayError
    """
    row = subscriptions.of(organization)
    try:
        session = hosted_checkout.find(checkout_id)
    except StripeRefused:
        return False
    if session.reference != str(row.reference) or session.status != "complete":
        return False
    return subscriptions.sync(row).is_live


def portal(organization: Organization) -> str:
    """An address of the portal, where cards, invoices and cancellation are.

    Raises:
        NoCustomer, GatewayError
    """
    row = subscriptions.of(organization)
    if not row.customer_id:
        raise NoCustomer
    catalog.complete()
    return hosted_checkout.open_portal(
        customer_id=row.customer_id,
        return_url=f"{settings.BASE_URL}{reverse('portal_left')}",
        configuration_id=catalog.portal_id(),
    )
