"""The state of an organization's payments and what its pages say about it: from our own rows, never from Stripe."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from accounts.models import Membership, Organization
from billing.amounts import dollars
from billing.ledger import ceilings, month_to_date, pricing
from billing.ledger.ceilings import UnpaidUse
from billing.ledger.month_to_date import MonthToDate
from billing.models import Budget, Credit, Subscription, Trial


class PaymentStatus(StrEnum):
    """The states that pages tell apart."""

    CREDIT = "credit"  # credit pays, and there is no subscription
    USED_UP = "used_up"  # there is neither credit nor a subscription
    ACTIVE = "active"
    PAST_DUE = "past_due"  # a payment failed a few days ago
    OVERDUE = "overdue"  # the days of grace are over, or Stripe gave up
    PAUSED = "paused"
    FROZEN = "frozen"


WORDS = {
    PaymentStatus.CREDIT: "On credit",
    PaymentStatus.USED_UP: "No card",
    PaymentStatus.ACTIVE: "Active",
    PaymentStatus.PAST_DUE: "Payment failed",
    PaymentStatus.OVERDUE: "Payment overdue",
    PaymentStatus.PAUSED: "Paused",
    PaymentStatus.FROZEN: "Stopped",
}

# Why there is no trial credit, as its owner reads it.
TRIAL_REFUSALS = {
    Trial.Outcome.MAILBOX_USED: (
        "No trial credit was added, because your mailbox has had it before: each mailbox gets it once, and "
        "addresses that differ only in a +tag or in dots that the provider ignores are one mailbox."
    ),
    Trial.Outcome.NETWORK_USED_UP: (
        "No trial credit was added, because too many new accounts from your network have had it today."
    ),
}


@dataclass(frozen=True)
class Banner:
    """What every page of the dashboard says of a payment that stops or endangers the work.

    `until` is printed before the sentence; `action` labels the button to the portal, where there is one.
    """

    headline: str
    sentence: str
    action: str = ""
    until: datetime | None = None
    level: str = "error"


@dataclass(frozen=True)
class PaymentState:
    """The payments of one member's organization; properties that nobody reads cost no query."""

    membership: Membership

    @property
    def organization(self) -> Organization:
        return self.membership.organization

    @property
    def subscription(self) -> Subscription | None:
        return getattr(self.organization, "subscription", None)

    @property
    def credit(self) -> Credit | None:
        return getattr(self.organization, "credit", None)

    @cached_property
    def has_credit(self) -> bool:
        """Whether the credit covers at least the cheapest image."""
        if self.credit is None or self.credit.remaining_micros <= 0:
            return False
        return self.credit.remaining_micros >= pricing.least_price_micros()

    @cached_property
    def trial_refusal(self) -> str:
        """Why the organization has no trial credit; empty where it has some, or was given other credit since."""
        if self.credit is not None and self.credit.granted_micros:
            return ""
        trial = Trial.objects.filter(organization=self.organization).first()
        return TRIAL_REFUSALS.get(Trial.Outcome(trial.outcome), "") if trial else ""

    @cached_property
    def alarm(self) -> PaymentStatus | None:
        """What stops or endangers the work, other than used up credit; else None."""
        row = self.subscription
        if row is None:
            return None
        if row.frozen_at:
            return PaymentStatus.FROZEN
        if row.status == Subscription.Status.PAST_DUE and row.serves:
            return PaymentStatus.PAST_DUE
        if row.status in {Subscription.Status.PAST_DUE, Subscription.Status.UNPAID}:
            return PaymentStatus.OVERDUE
        return PaymentStatus.PAUSED if row.status == Subscription.Status.PAUSED else None

    @cached_property
    def state(self) -> PaymentStatus:
        """The state that the billing page shows: an alarm before all else."""
        if self.alarm:
            return self.alarm
        if self.subscription and self.subscription.is_live:
            return PaymentStatus.ACTIVE
        return PaymentStatus.CREDIT if self.has_credit else PaymentStatus.USED_UP

    @property
    def banner(self) -> Banner | None:
        match self.alarm:
            case PaymentStatus.PAST_DUE:
                return Banner(
                    level="warning",
                    headline="A payment failed.",
                    until=self.subscription.grace_ends_at if self.subscription else None,
                    sentence=f"new pictures go on, for at most {dollars(self.grace_left_micros, 2)} more. After "
                    "that they are refused. Pay the open invoice or change the card, and all is as before.",
                    action="Pay or change the card",
                )
            case PaymentStatus.OVERDUE:
                return Banner(
                    headline="A payment is overdue.",
                    sentence=f"{self._without_subscription} Pay the open invoice or change the card; work goes on "
                    "at once.",
                    action="Pay or change the card",
                )
            case PaymentStatus.PAUSED:
                return Banner(
                    headline="Your subscription is paused.",
                    sentence=f"{self._without_subscription} Add a card to go on.",
                    action="Add a card",
                )
            case PaymentStatus.FROZEN:
                return Banner(
                    headline="New pictures are stopped,",
                    sentence="because a payment is disputed or was reported as fraud, or the operators of this "
                    "service stopped them. Images in progress are still delivered, and nothing more is charged. If "
                    "you did not ask for this, write to whoever runs this service; work goes on once it is "
                    "cleared up.",
                )
        return None

    @property
    def _without_subscription(self) -> str:
        """What happens to new work while the subscription does not pay."""
        if self.credit and self.has_credit:
            left = dollars(self.credit.remaining_micros)
            return f"Credit of {left} still pays for new pictures; after that they are refused."
        return "New pictures are refused, and nothing more is charged."

    @property
    def word(self) -> str:
        return WORDS[self.state]

    @cached_property
    def _budget(self) -> Budget | None:
        return Budget.objects.of_organization(self.organization).first()

    @cached_property
    def unpaid(self) -> UnpaidUse:
        """What the organization owes now, and its ceiling."""
        return ceilings.unpaid_use(self.organization, self.subscription, self._budget)

    @cached_property
    def so_far(self) -> MonthToDate:
        """The calendar month so far."""
        return month_to_date.of(self.organization, self._budget)

    @property
    def grace_left_micros(self) -> int:
        """What may still be spent while a payment is past due: the tighter of the ceiling and the monthly cap."""
        left = [self.unpaid.left_micros, self.so_far.remaining_micros]
        return min((micros for micros in left if micros is not None), default=0)
