"""`manage.py set_price`: a new version, from now on or later; what is no price is refused and changes nothing."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing.ledger import pricing
from billing.models import Price
from tests.cast import Person
from tests.payment import buy


def price() -> int:
    return pricing.price_of(model=pricing.DEFAULT_MODEL, size="512x512").amount_micros


def test_the_next_image_costs_the_new_price(
    alice: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("set_price", "512x512", "$0.0125")
    assert "512x512 v2: $0.012500 from" in capsys.readouterr().out
    [hold] = buy(alice)
    assert hold.amount_micros == 12_500


def test_a_price_can_wait_for_its_day(alice: Person) -> None:
    day = timezone.now() + timedelta(days=30)
    call_command("set_price", "512x512", "0.02", "--from", f"{day:%Y-%m-%dT%H:%M}")
    assert price() == 10_000
    later = pricing.price_of(
        model=pricing.DEFAULT_MODEL, size="512x512", at=day + timedelta(minutes=1)
    )
    assert later.amount_micros == 20_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("512x512", "cheap"), "amount in dollars"),
        (("512x512", "0"), "above zero"),
        (("512x512", "-1"), "above zero"),
        (("512x512", "NaN"), "above zero"),
        (("512x512", "0.0000001"), "whole millionths"),
        (("512x512", "0.02", "--from", "soon"), "must be a moment"),
        (("512x512", "0.02", "--from", "2020-01-01T00:00"), "in the future"),
        (("512x512", "0.02", "--model", "sdxl"), "must be one of"),
        (("640x480", "0.02"), "invalid choice"),
    ],
)
def test_what_is_no_price_changes_nothing(alice: Person, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("set_price", *([words[0], "--", words[1]] if words[1] == "-1" else words))
    assert Price.objects.count() == 5
