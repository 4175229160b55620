"""The chores that span the apps."""

from celery import shared_task

from billing import tasks
from billing.models import UsageBatch
from ecohash import reconcile


@shared_task(name="ecohash.reconcile")
def check_books() -> None:
    """Once a day: staff get what differs. Stripe is asked for each organisation by itself, for that takes time."""
    tasks.tell_staff(reconcile.differences_in_snapshot(), of="all books")
    used = UsageBatch.objects.order_by().values_list("organization", flat=True).distinct()
    for organization_id in used.iterator():
        tasks.compare.delay(organization_id)
