"""Mails before and when a monthly cap is reached: one for each month, cap and share of it; and near the ceiling of
unpaid use.

What is due is one query, so a look that finds nothing costs next to nothing. A row is claimed, and then its mails
are written with its mark: two who look at once write them once, and one that died half-way is taken up again.
"""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import (
    BigIntegerField,
    Case,
    Exists,
    F,
    IntegerField,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import ApiKey, User
from accounts.permissions import Permission, roles_with
from billing.ledger import budgets, ceilings
from billing.mails import notices, outgoing
from billing.models import Budget, Price, SpendAlert

# Per cent of the cap that is spent; the highest that was passed is mailed.
SHARES = (100, 80, 50)
NEAR_CEILING_PERCENT = 80


def alert() -> int:
    """Write what is due; returns of how many budgets. Safe to run twice at once."""
    return sum(warn(budget) for budget in due())


def note_unpaid() -> None:
    """Note the mails to organizations that come near their ceiling of unpaid use: one for each month and ceiling."""
    for organization, unpaid in ceilings.past_percent(NEAR_CEILING_PERCENT):
        subject = f"{budgets.this_month():%Y-%m}, {unpaid.ceiling_micros}"
        if organization.notices.filter(kind="unpaid_near_limit", subject=subject).exists():
            continue
        notices.note(
            "unpaid_near_limit",
            organization=organization,
            subject=subject,
            micros=unpaid.micros,
            ceiling_micros=unpaid.ceiling_micros,
            percent=unpaid.percent,
            by_payments=organization.subscription.unpaid_limit_micros is None,
        )


def due() -> QuerySet[Budget]:
    """Budgets of this month whose highest passed share was not mailed yet.

    Each carries `cap_micros` and `percent`. A cap of nothing was chosen to stop everything: no mail.
    """
    newest_key = live_keys_of_family(OuterRef("api_key")).order_by("-created_at", "-pk")
    cap = Case(
        When(api_key=None, then="organization__monthly_cap_micros"),
        default=Subquery(newest_key.values("monthly_cap_micros")[:1]),
        output_field=BigIntegerField(),
    )
    # A refusal counts only while it would happen again: the cap may have been raised since.
    dearest = Price.objects.values(n=Value(1)).annotate(dearest=Max("amount_micros"))
    exhausted = Q(exhausted_at__isnull=False) & Q(
        cap_micros__lt=F("pending_micros")
        + F("posted_micros")
        + Subquery(dearest.values("dearest"), output_field=BigIntegerField())
    )
    passed = [
        When(Q(cap_micros__lte=F("posted_micros") * 100 / share), then=Value(share))
        for share in SHARES
    ]
    sent = SpendAlert.objects.filter(
        budget=OuterRef("pk"),
        month=OuterRef("month"),
        cap_micros=OuterRef("cap_micros"),
        percent=OuterRef("percent"),
        done_at__isnull=False,
    )
    return (
        Budget.objects.filter(month__gte=budgets.this_month())
        .annotate(cap_micros=cap)
        .filter(cap_micros__gt=0)
        .annotate(
            percent=Case(
                When(exhausted, then=Value(100)), *passed, output_field=IntegerField(null=True)
            )
        )
        .filter(~Exists(sent), percent__isnull=False)
        .select_related("organization")
    )


def live_keys_of_family(family: Any) -> QuerySet[ApiKey]:
    """The live keys of a rotation family, named by the number of its first key."""
    return ApiKey.objects.live().filter(Q(pk=family) | Q(root=family))


def warn(budget: Any) -> bool:
    """Write the mails of one budget from `due`; False where somebody else does."""
    passed = SpendAlert.objects.filter(
        budget=budget, month=budget.month, cap_micros=budget.cap_micros, percent__lte=budget.percent
    )
    SpendAlert.objects.bulk_create(
        [
            SpendAlert(
                budget=budget,
                month=budget.month,
                percent=share,
                cap_micros=budget.cap_micros,
                spent_micros=budget.posted_micros,
            )
            for share in SHARES
            if share <= budget.percent
        ],
        ignore_conflicts=True,
    )
    alert = passed.due().filter(percent=budget.percent).first()
    if alert is None or not alert.claim():
        return False
    with transaction.atomic():
        write(budget)
        # The lower shares, passed in the same moment or before, would be old news.
        for passed_alert in passed.filter(done_at=None):
            passed_alert.done()
    return True


def write(budget: Any) -> None:
    """One mail to each who manages billing for that organization."""
    people = User.objects.filter(
        is_active=True,
        memberships__organization=budget.organization_id,
        memberships__role__in=roles_with(Permission.MANAGE_BILLING),
    ).order_by("memberships__created_at", "memberships__pk")
    key = None
    if budget.api_key_id:
        key = live_keys_of_family(budget.api_key_id).order_by("-created_at", "-pk").first()
    page = reverse("key", args=[key.pk]) if key else reverse("billing")
    context = {
        "organization": budget.organization,
        "budget": budget,
        "key": key,
        "reached": budget.percent == max(SHARES),
        "address": f"{settings.BASE_URL}{page}",
        "base_url": settings.BASE_URL,
    }
    outgoing.write(
        kind="spend_alert",
        to=[user.email for user in people],
        subject=render_to_string("emails/spend_alert_subject.txt", context),
        body=render_to_string("emails/spend_alert_message.txt", context),
    )
