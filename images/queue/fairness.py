"""Whose job is next: fair shares between organizations.

The organization with the fewest images in flight comes first, then the one that was served longest
ago, then the one whose job is oldest. So a burst of one customer delays another by one image.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Count, Min
from django.db.models.functions import Now

from images.catalog import Model
from images.models import Generation, LastServed

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class WaitingOrganization:
    """One organization with jobs in the queue; `oldest` is when its first one was created."""

    organization_id: int
    jobs: int
    oldest: datetime


def organizations_in_order(model: Model) -> list[WaitingOrganization]:
    """The organizations that wait for this model, the next one to be served first."""
    rows = (
        Generation.objects.queued(model.id)
        .filter(deadline_at__gt=Now())
        .order_by()
        .values_list("organization_id")
        .annotate(jobs=Count("pk"), oldest=Min("created_at"))
    )
    waiting = [WaitingOrganization(*row) for row in rows]
    if len(waiting) < 2:  # noqa: PLR2004 - nobody to compare with
        return waiting
    in_work = dict(
        Generation.objects.filter(status=Generation.Status.RUNNING)
        .order_by()
        .values_list("organization_id")
        .annotate(Count("pk"))
    )
    served = dict(
        LastServed.objects.filter(
            organization__in=[one.organization_id for one in waiting]
        ).values_list("organization_id", "served_at")
    )
    return sorted(
        waiting,
        key=lambda one: (
            in_work.get(one.organization_id, 0),
            served.get(one.organization_id, NEVER),
            one.oldest,
        ),
    )


def record_served(organization_id: int) -> None:
    """Note that a job of this organization was taken up, on the database's clock."""
    LastServed.objects.bulk_create(
        [LastServed(organization_id=organization_id, served_at=Now())],
        update_conflicts=True,
        unique_fields=["organization"],
        update_fields=["served_at"],
    )
