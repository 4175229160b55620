"""The dashboard's front page: three first steps, then the current figures."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest, members_only
from accounts.models import ApiKey, Organization
from billing.ledger import month_to_date, usage
from billing.models import Credit
from ecohash.pages.public import EXAMPLE_PROMPT, EXAMPLE_SEED
from images.catalog import DEFAULT_SIZE
from images.models import Generation
from images.pages import snippets

LAST_REQUESTS = 6


@dataclass(frozen=True)
class FirstSteps:
    """How far a newcomer has come: a key, a call with it, and the picture that it brought."""

    key: ApiKey | None
    call: Generation | None
    picture: Generation | None

    @property
    def done(self) -> bool:
        return self.picture is not None


@require_safe
@members_only
def home(request: OrganizationRequest) -> HttpResponse:
    """The dashboard's home page."""
    organization = request.organization
    today = datetime.now(UTC).date()
    rows = Generation.objects.for_organization(organization)
    context = {
        **steps_context(organization),
        "today": usage.total(organization, usage.Period(today, today + timedelta(days=1))),
        "month": usage.total(organization, usage.month_of(today)),
        "month_start": usage.month_of(today).start,
        "so_far": month_to_date.of(organization),
        "credit": Credit.objects.filter(organization=organization).first(),
        "success": success_rate(organization, usage.month_of(today)),
        "generations": rows.select_related("hold", "api_key", "image")[:LAST_REQUESTS],
    }
    return render(request, "dashboard/home.html", context)


@require_safe
@members_only
def first_steps(request: OrganizationRequest) -> HttpResponse:
    """The three steps alone, as they are now: the page asks again until the picture is there."""
    return render(request, "dashboard/first_steps.html", steps_context(request.organization))


def steps_context(organization: Organization) -> dict[str, Any]:
    """What `dashboard/first_steps.html` needs."""
    return {
        "steps": steps_of(organization),
        "example": snippets.ApiCall(prompt=EXAMPLE_PROMPT, size=DEFAULT_SIZE, seed=EXAMPLE_SEED),
    }


def steps_of(organization: Organization) -> FirstSteps:
    """The steps as the database tells them; a call counts when it came with a key."""
    calls = Generation.objects.for_organization(organization).filter(api_key__isnull=False)
    calls = calls.select_related("hold", "image")
    return FirstSteps(
        key=ApiKey.objects.for_organization(organization).live().first(),
        call=calls.first(),
        picture=calls.filter(status=Generation.Status.SUCCEEDED).last(),
    )


def success_rate(organization: Organization, period: usage.Period) -> float | None:
    """Percentage of the period's finished requests that brought a picture; None when there were none.

    Canceled requests are left out.
    """
    counts = (
        Generation.objects.for_organization(organization)
        .finished()
        .exclude(status=Generation.Status.CANCELED)
        .filter(created_at__gte=period.starts_at, created_at__lt=period.ends_at)
        .aggregate(
            finished=Count("pk"), good=Count("pk", filter=Q(status=Generation.Status.SUCCEEDED))
        )
    )
    return 100 * counts["good"] / counts["finished"] if counts["finished"] else None
