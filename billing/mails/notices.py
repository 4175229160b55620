"""Mails about what happened: noted once in the database, written by a periodic task and sent like all mails.

`note` may be called as often as the thing is noticed, inside a transaction or not. A kind is a template
`emails/money/<kind>.txt`, whose first line is the subject. Without an organization it is for staff.
"""

import logging
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Min, Subquery
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization, User
from accounts.permissions import Permission, roles_with
from billing.mails import outgoing
from billing.models import Credit, Notice, Price, Subscription

logger = logging.getLogger(__name__)

# Who is told of an organization's matters, where that is not those who look after its money.
READERS = {"key_leaked": Permission.MANAGE_MEMBERS}


def note(
    kind: str, *, organization: Organization | int | None = None, subject: str = "", **facts: Any
) -> None:
    """Have it told once, whoever else has noticed it; `facts` are for the template, as JSON."""
    pk = organization.pk if isinstance(organization, Organization) else organization
    Notice.objects.bulk_create(
        [Notice(organization_id=pk, kind=kind, subject=subject[:255], facts=facts)],
        ignore_conflicts=True,
    )
    if pk is None:
        logger.error(
            "staff must look", extra={"kind": kind, "subject": subject, "facts": str(facts)[:500]}
        )


def note_failure(what: str, *, organization: int, detail: str) -> None:
    """Tell staff of what could not be done for one organization, once a day; `what` is a clause."""
    name = Organization.objects.filter(pk=organization).values_list("name", flat=True).first()
    note(
        "not_done",
        subject=f"{timezone.now():%Y-%m-%d}, organization {organization}: {what}",
        organization_name=name or f"organization {organization}",
        what=what,
        detail=detail,
    )


def send_due(**which: Any) -> int:
    """Write mails of what was noted (of it, those notices); returns of how many. Safe to run twice at once.

    The mail server is not asked: see `outgoing`.
    """
    due = Notice.objects.due().filter(**which).order_by("created_at")
    return sum(_send(notice) for notice in due[:100])


def note_ended_trials() -> None:
    """Credit that was given and no longer pays for the cheapest image, with no card to go on with."""
    cheapest = (
        Price.objects.order_by()
        .values("model")
        .annotate(least=Min("amount_micros"))
        .values("least")
    )
    left = F("granted_micros") - F("posted_micros") - F("pending_micros")
    ended = (
        Credit.objects.filter(granted_micros__gt=0, pending_micros=0)
        .alias(left=left, cheapest=Subquery(cheapest.order_by("least")[:1]))
        .filter(left__lt=F("cheapest"))
        .exclude(organization__subscription__status__in=Subscription.LIVE)
        .exclude(organization__notices__kind="trial_ended")
    )
    for organization in ended.values_list("organization", flat=True)[:100]:
        note("trial_ended", organization=organization)


def _send(notice: Notice) -> bool:
    if not notice.claim():
        return False
    people = readers_of(notice)
    with transaction.atomic():
        if people:
            _write(notice, people)
        notice.done()
    return bool(people)


def readers_of(notice: Notice) -> list[str]:
    """Who looks after the organization's money or keys, the first joined first; staff where it names none."""
    users = User.objects.filter(is_active=True)
    if notice.organization_id is None:
        return list(users.filter(is_staff=True).order_by("pk").values_list("email", flat=True))
    readers = users.filter(
        memberships__organization=notice.organization_id,
        memberships__role__in=roles_with(READERS.get(notice.kind, Permission.MANAGE_BILLING)),
    )
    return list(
        readers.order_by("memberships__created_at", "memberships__pk").values_list(
            "email", flat=True
        )
    )


def _write(notice: Notice, people: list[str]) -> None:
    context = {
        "organization": notice.organization,
        "subject": notice.subject,
        "address": f"{settings.BASE_URL}{reverse('billing')}",
        "admin": f"{settings.BASE_URL}{reverse('admin:index')}",
        "base_url": settings.BASE_URL,
        **notice.facts,
    }
    text = render_to_string(f"emails/money/{notice.kind}.txt", context).lstrip()
    title, _, body = text.partition("\n")
    outgoing.write(kind=notice.kind, to=people, subject=title, body=body.lstrip("\n"))
