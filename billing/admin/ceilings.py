"""The ceiling of unpaid use in the admin: what stands against it, and the action that sets one organization's own."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError

from accounts.models import Organization
from billing.admin.actions import AdminAction, AmountField, ReasonForm
from billing.amounts import MICROS_PER_DOLLAR, dollars
from billing.ledger import ceilings
from billing.ledger.ceilings import UnpaidUse
from billing.models import Subscription
from billing.subscriptions import syncing

# Use of less would be stopped before an invoice can be charged: Stripe charges no card for less than 50 cents.
LEAST_CEILING_MICROS = MICROS_PER_DOLLAR


def _unpaid(organization: Organization) -> UnpaidUse:
    return ceilings.unpaid_use(organization, getattr(organization, "subscription", None))


def describe(unpaid: UnpaidUse) -> str:
    """One line: what is unpaid, of which ceiling."""
    if unpaid.ceiling_micros is None:
        return f"{dollars(unpaid.micros)}, and no ceiling holds"
    ceiling = dollars(unpaid.ceiling_micros)
    return f"{dollars(unpaid.micros)} of a ceiling of {ceiling} ({unpaid.percent} %)"


@admin.display(description="Unpaid use")
def unpaid(organization: Organization) -> str:
    """What it owes and holds, and the ceiling."""
    return describe(_unpaid(organization))


class CeilingForm(ReasonForm):
    """A ceiling of the organization's own, or none."""

    amount_micros = AmountField()
    field_order = ("amount_micros", "reason")

    def __init__(self, data: Any = None, *, row: Any = None) -> None:
        super().__init__(data, row=row)
        field = self.fields["amount_micros"]
        field.label = "Ceiling in dollars; empty: by the settings"
        field.required = False
        subscription = getattr(row, "subscription", None)
        field.initial = subscription.unpaid_limit_micros if subscription else None

    def clean_amount_micros(self) -> int | None:
        micros: int | None = self.cleaned_data["amount_micros"]
        if micros is not None and micros < LEAST_CEILING_MICROS:
            raise ValidationError("At least $1: Stripe charges no card for less than 50 cents.")
        return micros


def _set(
    organization: Organization, *, by: str, amount_micros: int | None, **_: Any
) -> Iterator[str]:
    row = syncing.get_or_create(organization)
    Subscription.objects.filter(pk=row.pk).update(unpaid_limit_micros=amount_micros)
    if amount_micros is None:
        yield f"The ceiling of {organization} goes by the settings, says {by}."
    else:
        yield f"The ceiling of {organization} is {dollars(amount_micros)}, says {by}."


SET_CEILING = AdminAction(
    name="ceiling",
    label="Set the ceiling of unpaid use",
    explanation=(
        "What the organization owes, with what is held for images in progress, may not exceed it, from the next image "
        "on. While it stands, payments do not raise the ceiling. It holds once the organization's invoices were read."
    ),
    form=CeilingForm,
    describe=lambda organization: f"{organization}: {unpaid(organization)}",
    run=_set,
)
