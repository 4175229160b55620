"""I4: the sums of use by hour are the ledger's captures, and `--fix` adds them up again."""

from collections.abc import Callable

import pytest
from django.db.models import F

from billing.models import UsageHour
from tests.cast import Person
from tests.ecohash.past_months import reconcile
from tests.images import make
from tests.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.django_db(transaction=True)


def add_an_image() -> None:
    UsageHour.objects.update(images=F("images") + 1)


def add_money() -> None:
    UsageHour.objects.update(micros=F("micros") + 1)


def lose_the_hour() -> None:
    UsageHour.objects.all().delete()


@pytest.mark.parametrize("damage", [add_an_image, add_money, lose_the_hour])
def test_a_wrong_hour_is_one_line_and_can_be_fixed(
    alice: Person, stripe_here: StripeSandbox, damage: Callable[[], None]
) -> None:
    make.succeeded(alice)
    make.succeeded(alice)
    right = list(UsageHour.objects.values_list("organization", "key", "images", "micros"))
    assert reconcile()[0] == 0
    damage()
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert f"I4 organization {alice.organization.pk}" in lines[0]
    assert f"the ledger has 2 for {2 * make.PRICE}" in lines[0]
    status, lines = reconcile("--fix")
    assert (status, lines[-1]) == (0, "The books are right.")
    assert list(UsageHour.objects.values_list("organization", "key", "images", "micros")) == right
