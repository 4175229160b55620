"""What staff and owners change: credit, limits, keys, prices, subscriptions."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from accounts.keys import keys, rotation
from accounts.keys.status import KeyNotUsable
from accounts.models import ApiKey, Organization
from billing.ledger import budgets, grants, pricing
from billing.models import Subscription
from billing.subscriptions import syncing
from images.catalog import FLUX_SCHNELL
from tests.images.jobs.state_machine.base import (
    SIZES,
    BaseMachine,
    any_number,
    caps,
    cuts,
    limits_in_flight,
    seen,
    sizes,
)
from tests.images.jobs.state_machine.model import Key, Owner

amounts = st.sampled_from([1, 10_000, 37_000, 200_000])
overlaps = st.sampled_from([timedelta(0), timedelta(days=1)])


class OwnerChanges(BaseMachine):
    """Changes to what callers may do and what it costs them."""

    # One rule for many changes, since most steps should be about jobs.
    @rule(
        change=st.one_of(
            st.tuples(st.just("grant"), any_number, amounts, cuts),
            st.tuples(st.just("set_the_organizations_cap"), any_number, caps),
            st.tuples(st.just("set_the_organizations_places"), any_number, limits_in_flight),
            st.tuples(st.just("change_a_key"), any_number, caps, limits_in_flight),
            st.tuples(st.just("rotate_a_key"), any_number, overlaps),
            st.tuples(st.just("revoke_a_key"), any_number),
            st.tuples(st.just("set_a_price"), sizes, st.sampled_from([10_000, 15_000, 20_000])),
            st.tuples(st.just("subscription_turns"), any_number),
        )
    )
    def something_is_changed(self, change: tuple[Any, ...]) -> None:
        name, *arguments = change
        getattr(self, name)(*arguments)

    def grant(self, number: int, amount: int, cut: int | None) -> None:
        organization = self.organization(number)
        done, _ = self.attempt_at(
            lambda: grants.grant(organization=organization, amount_micros=amount, reason="test"),
            cut,
            rolled_back=False,
        )
        if done:
            self.true.granted[organization.pk] += amount

    def set_the_organizations_cap(self, number: int, cap: int | None) -> None:
        organization = self.organization(number)
        budgets.set_cap(organization=organization, cap_micros=cap)
        self.true.organizations[organization.pk].cap = cap

    def set_the_organizations_places(self, number: int, limit: int | None) -> None:
        pk = self.organization(number).pk
        Organization.objects.filter(pk=pk).update(images_in_flight=limit)
        self.true.organizations[pk].in_flight = limit or settings.IMAGES_IN_FLIGHT

    def change_a_key(self, number: int, cap: int | None, limit: int | None) -> None:
        key = self.key(number)
        row = ApiKey.objects.get(pk=key.pk)
        try:
            keys.change(
                key=row,
                name="Changed",
                expires_at=row.expires_at,
                monthly_cap_micros=cap,
                images_in_flight=limit,
            )
        except KeyNotUsable:
            return
        seen["key changed"] += 1
        self.true.lines[key.line] = Owner(cap, limit)

    def rotate_a_key(self, number: int, overlap: timedelta) -> None:
        """The new key spends from the same budget as the old one."""
        old = self.key(number)
        try:
            row, secret = rotation.rotate(
                key=ApiKey.objects.get(pk=old.pk), overlap=overlap, created_by=None
            )
        except (KeyNotUsable, keys.KeyLimitReached):
            return
        seen["rotated"] += 1
        if not overlap:
            self.key_dies(old)
        self.true.keys.append(Key(row.pk, secret, old.organization, old.line))

    def revoke_a_key(self, number: int) -> None:
        """Only every other one, or soon nobody could call."""
        key = self.key(2 * number + 1)
        keys.revoke(ApiKey.objects.get(pk=key.pk))
        self.key_dies(key)

    def key_dies(self, key: Key) -> None:
        """From this moment on its secret opens nothing."""
        key.dead = True
        assert keys.find(key.secret) is None
        seen["dead key"] += 1

    def set_a_price(self, size: str, amount: int) -> None:
        """What is held already keeps its price."""
        pricing.set_price(model=FLUX_SCHNELL.id, size=size, amount_micros=amount)
        self.prices[size] = amount

    def subscription_begins(self, number: int) -> None:
        """As a look at Stripe writes it down: the prices of this moment are confirmed."""
        organization = self.organization(number)
        row = syncing.get_or_create(organization)
        row.customer_id, row.subscription_id = f"cus_{row.pk}", f"sub_{row.pk}"
        row.status = "active"
        row.save()
        for size in SIZES:
            price = pricing.price_of(model=FLUX_SCHNELL.id, size=size)
            row.items.get_or_create(
                price=price, defaults={"item_id": f"si_{row.pk}_{size}_{price.version}"}
            )
        self.true.subscribed[row.pk] = dict(self.prices)
        seen["subscribed"] += 1

    def subscription_ends(self, number: int) -> None:
        """What is in work is still charged to it."""
        pk = self.organization(number).pk
        Subscription.objects.filter(pk=pk).exclude(status="none").update(status="canceled")
        self.true.subscribed.pop(pk, None)

    def subscription_turns(self, number: int) -> None:
        """From none or a canceled one to a live one, or back."""
        if self.organization(number).pk in self.true.subscribed:
            self.subscription_ends(number)
        else:
            self.subscription_begins(number)
