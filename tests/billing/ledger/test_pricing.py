"""Prices are versions: a change never touches what was agreed before."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from billing.ledger import pricing
from billing.models import Price
from images.catalog import MODELS, SIZES

pytestmark = pytest.mark.django_db
MODEL = "flux-1-schnell"


@pytest.fixture(autouse=True)
def prices() -> None:
    pricing.set_default_prices()


def test_every_size_that_is_offered_has_its_price() -> None:
    in_force = {size: price.amount_micros for size, price in pricing.prices_in_force(MODEL).items()}
    assert in_force == {
        "512x512": 10_000,
        "768x768": 15_000,
        "1024x768": 18_000,
        "768x1024": 18_000,
        "1024x1024": 20_000,
    }
    assert set(in_force) == set(SIZES)
    assert MODEL in MODELS


def test_the_newest_version_in_force_counts() -> None:
    pricing.set_price(model=MODEL, size="512x512", amount_micros=11_000)
    price = pricing.price_of(model=MODEL, size="512x512")
    assert (price.version, price.amount_micros) == (2, 11_000)
    assert pricing.prices_in_force(MODEL)["512x512"] == price


def test_a_price_announced_for_tomorrow_waits_until_then() -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    pricing.set_price(model=MODEL, size="512x512", amount_micros=1, effective_from=tomorrow)
    assert pricing.price_of(model=MODEL, size="512x512").amount_micros == 10_000
    assert pricing.prices_in_force(MODEL)["512x512"].amount_micros == 10_000
    later = tomorrow + timedelta(seconds=1)
    assert pricing.price_of(model=MODEL, size="512x512", at=later).amount_micros == 1


def test_yesterday_has_yesterdays_price() -> None:
    before = timezone.now()
    pricing.set_price(model=MODEL, size="512x512", amount_micros=99_000)
    assert pricing.price_of(model=MODEL, size="512x512", at=before).amount_micros == 10_000


def test_setting_the_default_prices_again_changes_nothing() -> None:
    pricing.set_price(model=MODEL, size="512x512", amount_micros=11_000)
    pricing.set_default_prices()
    assert Price.objects.count() == len(SIZES) + 1


def test_what_has_no_price_cannot_be_sold() -> None:
    with pytest.raises(pricing.NoPrice, match="2048x2048"):
        pricing.price_of(model=MODEL, size="2048x2048")


@pytest.mark.parametrize("amount", [0, -1])
def test_nothing_is_free_or_paid_out(amount: int) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        pricing.set_price(model=MODEL, size="512x512", amount_micros=amount)


def test_a_version_exists_once() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Price.objects.create(model=MODEL, size="512x512", version=1, amount_micros=5)
