"""Subscriptions, prices at Stripe, its events, mails and refunds in the admin."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone

from accounts.admin import ReadOnlyAdmin, ReadOnlyInline
from billing import webhook_events
from billing.admin.actions import ActionRefused, ActionsAdmin, AdminAction
from billing.admin.links import NOTHING, at_stripe
from billing.amounts import dollars, dollars_of_cents
from billing.gateway.errors import StripeAway
from billing.ledger import ceilings
from billing.models import (
    Budget,
    MeteredPrice,
    Notice,
    Refund,
    Subscription,
    SubscriptionItem,
    WebhookEvent,
)
from billing.subscriptions import syncing


def _sync(row: Subscription, **_: Any) -> Iterator[str]:
    if not row.customer_id:
        raise ActionRefused("There is no customer at Stripe to look at.")
    row = syncing.sync(row)
    yield f"At Stripe it is {row.get_status_display()}; that is written down here now."


SYNC = AdminAction(
    name="look",
    label="Look at Stripe now",
    label_for_many="Look at Stripe now",
    explanation="Stripe is asked how the subscription is, and our row follows. This is safe at any time.",
    run=_sync,
)


class SubscriptionItemInline(ReadOnlyInline):
    """The prices that Stripe has confirmed for the subscription."""

    model = SubscriptionItem
    fields = ("price", "item_id")
    verbose_name_plural = "Prices that Stripe has confirmed"


@admin.register(Subscription)
class SubscriptionAdmin(ActionsAdmin):
    list_display = (
        "organization",
        "status",
        "unpaid",
        "ceiling",
        "past_due_since",
        "stopped_because",
        "period_end",
        "customer",
        "synced_at",
    )
    list_filter = (
        "status",
        ("past_due_since", admin.EmptyFieldListFilter),
        ("frozen_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("organization",)
    search_fields = (
        "organization__name",
        "organization__memberships__user__email",
        "customer_id",
        "subscription_id",
    )
    ordering = ("-synced_at", "pk")
    fields = (
        *("organization", "status", "customer", "subscription"),
        *("period_start", "period_end", "ends_at"),
        *("unpaid", "ceiling", "paid", "own_ceiling", "invoices_read_at"),
        *("past_due_since", "past_due_owed", "frozen_at", "stopped_because"),
        *("reference", "checkout_id", "version", "synced_at"),
    )
    readonly_fields = (
        *("customer", "subscription", "stopped_because"),
        *("unpaid", "ceiling", "paid", "own_ceiling", "past_due_owed"),
    )
    inlines = (SubscriptionItemInline,)
    admin_actions = (SYNC,)

    @admin.display(ordering="customer_id")
    def customer(self, row: Subscription) -> str:
        """The id, linked to Stripe."""
        return at_stripe("customers", row.customer_id)

    @admin.display(ordering="subscription_id")
    def subscription(self, row: Subscription) -> str:
        """The id, linked to Stripe."""
        return at_stripe("subscriptions", row.subscription_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        """With what each owes and holds, to sort by."""
        budget = Budget.objects.filter(organization=OuterRef("pk"), api_key=None)
        unpaid = budget.values(sum=F("owed_micros") + F("owed_pending_micros"))
        rows: QuerySet[Subscription] = super().get_queryset(request)
        return rows.annotate(unpaid_micros=Coalesce(Subquery(unpaid), 0))

    @admin.display(description="Unpaid use", ordering="unpaid_micros")
    def unpaid(self, row: Any) -> str:
        return dollars(row.unpaid_micros)

    @admin.display(description="Its ceiling")
    def ceiling(self, row: Any) -> str:
        """The ceiling that holds now, and how much of it is taken."""
        ceiling = ceilings.ceiling_micros(row)
        use = ceilings.UnpaidUse(row.unpaid_micros, 0, ceiling)
        return NOTHING if ceiling is None else f"{dollars(ceiling)} ({use.percent} %)"

    @admin.display(description="Paid in all", ordering="paid_micros")
    def paid(self, row: Subscription) -> str:
        return dollars(row.paid_micros)

    @admin.display(description="Ceiling of its own", ordering="unpaid_limit_micros")
    def own_ceiling(self, row: Subscription) -> str:
        return dollars(row.unpaid_limit_micros)

    @admin.display(description="Owed and held when it became past due")
    def past_due_owed(self, row: Subscription) -> str:
        return dollars(row.past_due_owed_micros if row.past_due_since else None)

    @admin.display(description="Stopped because", ordering="frozen_at")
    def stopped_because(self, row: Subscription) -> str:
        """The reasons, in one line."""
        return "; ".join(row.frozen_because) or NOTHING


@admin.register(MeteredPrice)
class MeteredPriceAdmin(ReadOnlyAdmin):
    list_display = ("price", "amount", "event_name", "meter_id", "at_stripe")
    list_select_related = ("price",)
    search_fields = ("event_name", "meter_id", "stripe_price_id")
    ordering = ("price__model", "price__size", "-price__version")
    fields = ("price", "amount", "event_name", "meter_id", "at_stripe")
    readonly_fields = ("amount", "at_stripe")

    @admin.display(ordering="price__amount_micros")
    def amount(self, row: MeteredPrice) -> str:
        return dollars(row.price.amount_micros)

    @admin.display(ordering="stripe_price_id", description="Price at Stripe")
    def at_stripe(self, row: MeteredPrice) -> str:
        """The id, linked to Stripe."""
        return at_stripe("prices", row.stripe_price_id)


def _process(event: WebhookEvent, **_: Any) -> Iterator[str]:
    rows = WebhookEvent.objects.filter(pk=event.pk)
    rows.update(done_at=None, claimed_until=None, not_before=timezone.now())
    done = webhook_events.process(event)
    event.refresh_from_db()
    if not done and not event.done_at:
        raise StripeAway(event.note or "Somebody else works on it at this moment.")
    yield f"{event}: {event.note}."


PROCESS = AdminAction(
    name="work",
    label="Work on it now",
    label_for_many="Work on the chosen events now",
    explanation=(
        "What the event is about is looked up at Stripe as it is now, and our rows follow. This is safe for an "
        "event that was worked on before: nothing is charged, given or mailed a second time."
    ),
    run=_process,
)


@admin.register(WebhookEvent)
class WebhookEventAdmin(ActionsAdmin):
    list_display = ("received_at", "type", "note", "tries", "done_at", "object_id")
    list_filter = (("done_at", admin.EmptyFieldListFilter), "type")
    search_fields = ("event_id", "object_id", "type")
    ordering = ("-received_at", "-pk")
    fields = (
        *("event", "type", "object_id", "created_at", "received_at"),
        *("tries", "not_before", "claimed_until", "done_at", "note"),
    )
    readonly_fields = ("event",)
    admin_actions = (PROCESS,)

    @admin.display()
    def event(self, row: WebhookEvent) -> str:
        """The id, linked to Stripe."""
        return at_stripe("events", row.event_id)


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "kind", "readers", "subject", "done_at")
    list_filter = (("done_at", admin.EmptyFieldListFilter), "kind")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "subject")
    ordering = ("-created_at", "-pk")
    fields = (
        *("organization", "kind", "subject", "facts", "created_at"),
        *("tries", "not_before", "claimed_until", "done_at", "note"),
    )

    @admin.display(description="For", ordering="organization")
    def readers(self, notice: Notice) -> str:
        """The organization whose billing contacts get the mail, or staff."""
        return str(notice.organization or "Staff")


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "organization", "amount", "back_to", "done_at", "by", "reason")
    list_filter = ("to", ("done_at", admin.EmptyFieldListFilter))
    list_select_related = ("organization", "entry")
    search_fields = ("organization__name", "by", "entry__reason", "reference", "stripe_id")
    ordering = ("-created_at", "-pk")
    fields = (
        *("organization", "amount", "back_to", "reason", "by", "created_at", "entry"),
        *("in_cents", "done_at", "stripe_id", "tries", "not_before", "note", "reference"),
    )
    readonly_fields = ("amount", "back_to", "reason", "in_cents", "reference")

    @admin.display(ordering="entry__amount_micros")
    def amount(self, refund: Refund) -> str:
        return dollars(refund.entry.amount_micros)

    @admin.display(ordering="to")
    def back_to(self, refund: Refund) -> str:
        """Where the refunded money goes, or went."""
        if refund.entry.credit == "customer_credit":
            return "Credit"
        if refund.needs_staff:
            return "Nowhere yet: settle it"
        return "The card that paid" if refund.to == Refund.To.CARD else "The next invoice"

    @admin.display(ordering="entry__reason")
    def reason(self, refund: Refund) -> str:
        """The reason that the customer reads."""
        return refund.entry.reason

    @admin.display(description="In whole cents")
    def in_cents(self, refund: Refund) -> str:
        return dollars_of_cents(refund.cents) if refund.cents else NOTHING
