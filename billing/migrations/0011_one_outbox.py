"""Webhooks, usage batches, refunds and both kinds of mails are claimed and tried again by the same columns.

Nothing that the previous release reads or writes goes: fields that keep their meaning are renamed in the
models and keep their columns (`db_column`), and new columns have defaults in the database or may be empty.

A later release may drop `claimed_at` of notices and spend alerts (the previous one claims a mail by it), and
rename `taken_until`, `processed_at` and `outcome` of webhooks, `sending_until` and `accepted_at` of usage
batches, and `sent_at` of refunds, notices and spend alerts.
"""

from typing import Any

from django.db import migrations, models
from django.db.models import Index, Q
from django.db.models.functions import Now
from django.utils import timezone

MAILS = ("notice", "spendalert")
MOMENTS = [
    ("webhookevent", "taken_until", "claimed_until"),
    ("webhookevent", "processed_at", "done_at"),
    ("usagebatch", "sending_until", "claimed_until"),
    ("usagebatch", "accepted_at", "done_at"),
    *((model, "sent_at", "done_at") for model in ("refund", *MAILS)),
]
NOT_DONE = Q(done_at=None)
INDEXES = {
    "webhookevent": Index(fields=["not_before"], condition=NOT_DONE, name="webhook_unprocessed"),
    "refund": Index(fields=["not_before"], condition=NOT_DONE, name="refund_unsent"),
    "notice": Index(fields=["created_at"], condition=NOT_DONE, name="notice_unsent"),
    "spendalert": Index(fields=["created_at"], condition=NOT_DONE, name="spend_alert_unsent"),
    "usagebatch": Index(
        fields=["done_at"], condition=Q(state="accepted"), name="usage_batch_unproven"
    ),
}
LEASE_WHILE_SENDING = models.CheckConstraint(
    condition=Q(state="sending", claimed_until__isnull=False)
    | (~Q(state="sending") & Q(claimed_until=None)),
    name="usage_batch_lease_while_sending",
)


def moment(name: str | None = None, column: str | None = None, **options: Any) -> Any:
    return models.DateTimeField(name, db_column=column, null=True, blank=True, **options)


def renamed(model: str, old: str, new: str, field: Any) -> list[Any]:
    return [migrations.AlterField(model, old, field), migrations.RenameField(model, old, new)]


def columns() -> dict[str, Any]:
    """Those that the previous release leaves to the database's defaults."""
    said = "What the last attempt ended with."
    text = models.CharField(max_length=500, blank=True, default="", db_default="", help_text=said)
    return {
        "tries": models.PositiveIntegerField(default=0, db_default=0),
        "not_before": models.DateTimeField(default=timezone.now, db_default=Now()),
        "note": text,
    }


# The same columns, indexes and constraint in the database: only the models call them otherwise.
NAMES = [
    migrations.RemoveConstraint("usagebatch", LEASE_WHILE_SENDING.name),
    *(migrations.RemoveIndex(model, index.name) for model, index in INDEXES.items()),
    *(
        operation
        for model, old, new in MOMENTS
        for operation in renamed(model, old, new, moment(old.replace("_", " "), old))
    ),
    *renamed(
        "webhookevent",
        "outcome",
        "note",
        models.CharField("outcome", db_column="outcome", max_length=500, blank=True),
    ),
    *(migrations.AddIndex(model, index) for model, index in INDEXES.items()),
    migrations.AddConstraint("usagebatch", LEASE_WHILE_SENDING),
]


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_room_for_ids_of_stripe")]
    operations = [
        migrations.SeparateDatabaseAndState(state_operations=NAMES),
        *(
            migrations.AddField(model, "claimed_until", moment(help_text="A process works on it."))
            for model in ("refund", *MAILS)
        ),
        *(migrations.AlterField(model, "claimed_at", moment(editable=False)) for model in MAILS),
        *(
            migrations.AddField(model, name, field)
            for model in MAILS
            for name, field in columns().items()
        ),
        *(
            migrations.AlterField(model, name, field)
            for model in ("webhookevent", "usagebatch", "refund")
            for name, field in columns().items()
            if (model, name) != ("webhookevent", "note")
        ),
    ]
