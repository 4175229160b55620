"""The payments of an organization on its page of the admin, and the actions that staff can take there."""

from collections.abc import Iterator
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Count, Q, Sum
from django.template.defaultfilters import pluralize
from django.utils import timezone
from django.utils.dateformat import format as date_format
from django.utils.html import format_html

from accounts.models import Organization
from billing import refunds
from billing.admin.actions import ActionRefused, AdminAction, AmountForm, ReasonForm
from billing.admin.links import NOTHING, at_stripe, list_of, page_of
from billing.amounts import dollars
from billing.ledger import grants, month_to_date, period_to_date
from billing.models import LedgerEntry, Notice, Refund, Subscription, UsageBatch
from billing.reporting import batching
from billing.subscriptions import freezing, syncing

Account = LedgerEntry.Account


def _row_of(organization: Organization) -> Subscription | None:
    return getattr(organization, "subscription", None)


# --- actions --------------------------------------------------------------------------------------


def _refundable(organization: Organization) -> str:
    on_invoices = refunds.refundable_micros(organization, Account.RECEIVABLE)
    on_credit = refunds.refundable_micros(organization, Account.CUSTOMER_CREDIT)
    return f"{organization}: {dollars(on_invoices)} of invoices and {dollars(on_credit)} of credit can be given back."


def _refund(
    organization: Organization, *, by: str, amount_micros: int, reason: str
) -> Iterator[str]:
    refund = refunds.refund_amount(
        organization=organization, amount_micros=amount_micros, reason=reason, by=by
    )
    yield f"{dollars(amount_micros)} given back to {organization}{refunds.where_to(refund)}."


def _grant(
    organization: Organization, *, by: str, amount_micros: int, reason: str
) -> Iterator[str]:
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        just_now = LedgerEntry.objects.for_organization(organization).filter(
            kind=LedgerEntry.Kind.GRANT,
            amount_micros=amount_micros,
            reason=reason,
            created_at__gt=timezone.now() - refunds.SAME_AGAIN,
        )
        if just_now.exists():
            raise ActionRefused(
                "That credit was given for that reason a moment ago. If it is meant twice, say so in the reason."
            )
        grants.grant(organization=organization, amount_micros=amount_micros, reason=reason)
    yield f"{dollars(amount_micros)} of credit given to {organization} by {by}."


def _freeze(organization: Organization, *, by: str, reason: str) -> Iterator[str]:
    freezing.freeze(
        syncing.get_or_create(organization), because=f"by {by}: {reason}", by_staff=True
    )
    yield f"New work of {organization} is stopped."


class UnfreezeForm(ReasonForm):
    """Which of the reasons that the page showed are gone; one that was added since stays."""

    gone = forms.MultipleChoiceField(
        label="No longer a reason",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )
    field_order = ("gone", "reason")

    def __init__(self, data: Any = None, *, row: Any = None) -> None:
        super().__init__(data, row=row)
        gone = cast("forms.MultipleChoiceField", self.fields["gone"])
        gone.initial = row.subscription.frozen_because if row else []
        gone.choices = [(because, because) for because in gone.initial]


def _unfreeze(organization: Organization, *, gone: list[str], **_: Any) -> Iterator[str]:
    goes_on = False
    for because in gone:
        goes_on = freezing.unfreeze(syncing.get_or_create(organization), because=because)
        yield f"No longer a reason: {because}."
    if goes_on:
        yield f"Work of {organization} goes on."
    else:
        raise ActionRefused("It stays stopped, for another reason stands.")


def _not_frozen(organization: Organization) -> str:
    row = _row_of(organization)
    return "" if row and row.frozen_at else "Nothing stops its work."


ADMIN_ACTIONS = (
    AdminAction(
        name="refund",
        label="Refund an amount",
        explanation=(
            "Where the subscription was charged that much, the amount is taken off the next invoice, or goes back to "
            "the card that paid if no invoice is to come; else it becomes credit. The ledger gets an entry, and "
            "the customer reads the reason there. It cannot be taken back."
        ),
        form=AmountForm,
        describe=_refundable,
        run=_refund,
    ),
    AdminAction(
        name="grant",
        label="Grant credit",
        explanation=(
            "The organization can spend it on images at once, before its subscription pays. The ledger gets "
            "an entry, and the customer reads the reason there. It cannot be taken back."
        ),
        form=AmountForm,
        run=_grant,
    ),
    AdminAction(
        name="stop",
        label="Stop new work",
        explanation=(
            "New images are refused, whoever would pay for them; images in progress are still delivered. Those who "
            "look after its money get a mail, and so does staff. The reason is for staff."
        ),
        form=ReasonForm,
        run=_freeze,
    ),
    AdminAction(
        name="go-on",
        label="Let work go on",
        explanation="New images are accepted again, as soon as no reason against it is left.",
        form=UnfreezeForm,
        run=_unfreeze,
        unavailable_because=_not_frozen,
    ),
)


# --- facts ----------------------------------------------------------------------------------------


def _moment(moment: Any) -> str:
    return f"{date_format(moment, 'j M Y, H:i')} UTC"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{pluralize(number)}"


@admin.display(description="Subscription")
def subscription(organization: Organization) -> str:
    """Its status, linked to its page."""
    row = _row_of(organization)
    return page_of(row, row.get_status_display()) if row else "No subscription"


@admin.display(description="At Stripe")
def ids(organization: Organization) -> str:
    """The ids of customer and subscription, linked to Stripe."""
    row = _row_of(organization)
    if row is None or not row.customer_id:
        return NOTHING
    return format_html(
        "{}<br>{}",
        at_stripe("customers", row.customer_id),
        at_stripe("subscriptions", row.subscription_id),
    )


@admin.display(description="Period")
def period(organization: Organization) -> str:
    """The current billing period: its days, images and amount so far."""
    row = _row_of(organization)
    so_far = period_to_date.of(row) if row else None
    if so_far is None:
        return NOTHING
    days = f"{date_format(so_far.start, 'j M Y')} to {date_format(so_far.end, 'j M Y')}"
    return f"{days}: {_count(so_far.images, 'image')}, {dollars(so_far.micros)}"


@admin.display(description="Trouble")
def trouble(organization: Organization) -> str:
    """What stops its work, or soon will: one line each."""
    row = _row_of(organization)
    if row is None:
        return NOTHING
    found = [f"Stopped: {because}" for because in row.frozen_because]
    if row.past_due_since and row.grace_ends_at:
        since, until = _moment(row.past_due_since), _moment(row.grace_ends_at)
        found.append(f"Past due since {since}; refused from {until} on")
    if row.ends_at:
        found.append(f"Canceled for {_moment(row.ends_at)}")
    return "\n".join(found) or "None"


@admin.display(description="This month")
def month(organization: Organization) -> str:
    """What is spent and held in this calendar month, and the cap."""
    now = month_to_date.of(organization)
    cap = "no limit" if now.cap_micros is None else f"a limit of {dollars(now.cap_micros)}"
    return f"{dollars(now.spent_micros)} spent and {dollars(now.held_micros)} held, of {cap}"


@admin.display(description="Given back")
def given_back(organization: Organization) -> str:
    """The sum and number of its refunds, linked to their list."""
    found = organization.refunds.aggregate(
        number=Count("pk"),
        sum=Sum("entry__amount_micros"),
        waiting=Count("pk", filter=Q(done_at=None)),
    )
    if not found["number"]:
        return "Nothing"
    waiting = f", {found['waiting']} not at Stripe yet" if found["waiting"] else ""
    text = f"{dollars(found['sum'])} in {_count(found['number'], 'refund')}{waiting}"
    return list_of(Refund, text, organization__id__exact=organization.pk)


@admin.display(description="Not billed yet")
def unsent(organization: Organization) -> str:
    """Images that Stripe has not counted yet, and why."""
    is_open = batching.open_use().filter(organization=organization).count()
    batches = UsageBatch.objects.for_organization(organization).unclaimed()
    doubtful = Sum("quantity", filter=Q(state__in=UsageBatch.DOUBTFUL))
    found = {
        "in no batch yet": is_open,
        "waiting to be sent": batches.unsent().aggregate(sum=Sum("quantity"))["sum"],
        "rejected or unknown": batches.aggregate(sum=doubtful)["sum"],
    }
    parts = [f"{_count(images, 'image')} {which}" for which, images in found.items() if images]
    text = ", ".join(parts) or "Nothing"
    return list_of(UsageBatch, text, organization__id__exact=organization.pk)


@admin.display(description="More")
def more(organization: Organization) -> str:
    """Links to the organization's ledger and mails."""
    where = {"organization__id__exact": organization.pk}
    ledger_, mails = list_of(LedgerEntry, "Ledger", **where), list_of(Notice, "Mails", **where)
    return format_html("{} · {}", ledger_, mails)


# Any: mypy does not take functions for fields of an admin.
FACTS: tuple[Any, ...] = (subscription, ids, period, trouble, month, given_back, unsent, more)
