"""What is sold, as Stripe must know it: a product for each model and size, a meter and a price for each version.

An invoice's line is headed by its product, so each size has one of its own.

Everything is found by its name first and made only where it is missing, so it can be run at any time.
"""

from collections.abc import Iterator

from django.conf import settings
from django.utils import timezone

from billing.amounts import cents_of
from billing.gateway import catalog
from billing.gateway.errors import StripeAway, StripeRefused
from billing.ledger.pricing import MODEL_TITLES
from billing.mails import notices
from billing.models import MeteredPrice, Price, StripeObject

PORTAL = "portal"


class CatalogConflict(Exception):
    """Stripe has something of our name that says otherwise: another installation's, or edited by hand."""


def sync() -> Iterator[str]:
    """Find or make all of it; yields a line for each object, when it is done.

    What is refused for one price is raised after the others have been made.

    Raises:
        CatalogConflict, GatewayError
    """
    prices = Price.objects.filter(effective_from__lte=timezone.now()).order_by(
        "model", "size", "version"
    )
    missing = [price for price in prices if not hasattr(price, "metered")]
    refused: list[Exception] = []
    for model, size in dict.fromkeys((price.model, price.size) for price in prices):
        try:
            yield _sync_product(model, size)
        except StripeRefused as error:
            refused.append(error)
    for price in prices:
        if price not in missing:
            yield f"known    {price}: {price.metered.stripe_price_id}"
            continue
        try:
            yield from _sync_price(price)
        except (CatalogConflict, StripeRefused) as error:
            refused.append(error)
    yield _sync_portal()
    if refused:
        raise refused[0]


def is_complete() -> bool:
    """Whether each price in force has its metered price, and the portal is set up."""
    in_force = Price.objects.filter(effective_from__lte=timezone.now(), metered=None)
    return not in_force.exists() and StripeObject.objects.filter(name=PORTAL).exists()


def complete() -> None:
    """Make what is missing, so that a customer can subscribe before anybody has run `stripe_sync`.

    A price that Stripe refuses is told to staff: until it is there, the older one of that size is held.

    Raises:
        GatewayError: of what nobody could subscribe without.
    """
    if is_complete():
        return
    try:
        list(sync())
    except (CatalogConflict, StripeRefused) as error:
        if not StripeObject.objects.filter(name=PORTAL).exists():
            raise StripeAway(str(error)) from error
        notices.note("catalog_incomplete", subject=f"{timezone.now():%Y-%m-%d}", detail=str(error))


def portal_id() -> str:
    """The id of the portal's configuration at Stripe."""
    return StripeObject.objects.get(name=PORTAL).stripe_id


def event_name_of(price: Price) -> str:
    """The name of the meter's events, and the lookup key of the metered price."""
    return f"ecohash_{price.model}_{price.size}_v{price.version}"


def product_id_of(model: str, size: str) -> str:
    """The product's id at Stripe, which lets us choose the ids of products."""
    return f"ecohash_{model}_{size}"


def title_of(model: str, size: str) -> str:
    """The product's name on an invoice: `FLUX.1 Schnell, 512×512`."""
    return f"{MODEL_TITLES.get(model, model)}, {size.replace('x', '×')}"


def _sync_product(model: str, size: str) -> str:
    product_id = product_id_of(model, size)
    name = f"product:{model}:{size}"
    if StripeObject.objects.filter(name=name).exists():
        return f"known    product {product_id}"
    is_new = catalog.find_or_create_product(
        product_id=product_id, name=title_of(model, size), unit_label="image"
    )
    StripeObject.objects.get_or_create(name=name, defaults={"stripe_id": product_id})
    return f"{_verb(is_new)} product {product_id}"


def _sync_price(price: Price) -> Iterator[str]:
    name = event_name_of(price)
    title = title_of(price.model, price.size)
    meter_id, is_new = catalog.find_or_create_meter(
        event_name=name, display_name=f"{title}, v{price.version}"
    )
    yield f"{_verb(is_new)} meter {name}"
    cents = cents_of(price.amount_micros)
    at_stripe, is_new = catalog.find_or_create_price(
        lookup_key=name,
        product_id=product_id_of(price.model, price.size),
        meter_id=meter_id,
        cents=cents,
        nickname=title,
    )
    if at_stripe.cents != cents or at_stripe.meter_id != meter_id:
        raise CatalogConflict(
            f"Stripe has a price {name} of {at_stripe.cents} cents on meter {at_stripe.meter_id}, but it "
            f"should be {cents} cents on {meter_id}. Use a Stripe account of its own for each "
            "installation, or give the price there another lookup key and run this again."
        )
    MeteredPrice.objects.get_or_create(
        price=price,
        defaults={"event_name": name, "meter_id": meter_id, "stripe_price_id": at_stripe.id},
    )
    yield f"{_verb(is_new)} price {name}"


def _sync_portal() -> str:
    if found := StripeObject.objects.filter(name=PORTAL).first():
        return f"known    portal {found.stripe_id}"
    portal, is_new = catalog.find_or_create_portal(
        return_url=f"{settings.BASE_URL}/dashboard/billing"
    )
    row, _ = StripeObject.objects.get_or_create(name=PORTAL, defaults={"stripe_id": portal})
    return f"{_verb(is_new)} portal {row.stripe_id}"


def _verb(is_new: bool) -> str:  # noqa: FBT001 - the one thing that it is about
    return f"{'made' if is_new else 'found':8}"
