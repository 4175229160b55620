"""Freezing: all new work of an organization is refused until every reason for it is gone."""

from django.db import transaction
from django.utils import timezone

from billing.mails import notices
from billing.models import Subscription


@transaction.atomic
def freeze(row: Subscription, *, because: str, by_staff: bool = False) -> None:
    """Stop new work for that reason; what is in flight is still delivered. Safe to repeat."""
    row = Subscription.objects.select_for_update(no_key=True).get(pk=row.pk)
    if because in row.frozen_because:
        return
    row.frozen_because.append(because)
    row.frozen_at = row.frozen_at or timezone.now()
    row.save(update_fields=["frozen_because", "frozen_at"])
    # The same reason may come again another day.
    once = f"{because}, {timezone.now().date().isoformat()}"
    notices.note("account_frozen", organization=row.pk, subject=once, by_staff=by_staff)
    name = row.organization.name
    notices.note("frozen", subject=f"{row.pk}: {once}", organization_name=name, because=because)


@transaction.atomic
def unfreeze(row: Subscription, *, because: str | None = None) -> bool:
    """Remove one reason, or all of them; returns whether no reason is left."""
    row = Subscription.objects.select_for_update(no_key=True).get(pk=row.pk)
    kept = [reason for reason in row.frozen_because if because not in {None, reason}]
    row.frozen_because = kept
    if not kept:
        row.frozen_at = None
    row.save(update_fields=["frozen_because", "frozen_at"])
    return not kept
