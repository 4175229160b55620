"""The standing chores of money, run by beat; each is safe to run twice."""

from celery import shared_task

from billing import alerts


@shared_task(name="billing.alert")
def alert() -> None:
    """Mail those who come near their spend limit."""
    alerts.alert()
