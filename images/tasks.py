"""The periodic tasks, run by beat every few seconds; each is safe to run twice."""

from celery import shared_task

from images.jobs import leases


@shared_task(name="images.sweep")
def sweep() -> None:
    """Notify workers again of jobs whose notification was lost."""
    leases.sweep()


@shared_task(name="images.reap")
def reap() -> None:
    """End jobs whose worker or caller died."""
    leases.reap()


@shared_task(name="images.purge")
def purge() -> None:
    """Remove pictures that have expired."""
    leases.purge()
