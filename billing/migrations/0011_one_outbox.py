"""Webhooks, usage batches, refunds and both kinds of mails are claimed and tried again by the same columns.

Nothing that the previous release reads or writes goes: fields that keep their meaning are renamed in the
models and keep their columns (`db_column`), and new columns have defaults in the database or may be empty.

A later release may drop `claimed_at` of notices and spend alerts (the previous one claims a mail by it), and
rename `taken_until`, `processed_at` and `outcome` of webhooks, `sending_until` and `accepted_at` of usage
batches, and `sent_at` of refunds, notices and spend alerts.
"""

from typing import Any

import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models
from django.db.models import Q

MOMENT: dict[str, Any] = {"null": True, "blank": True}
WORKED_ON = "A process works on it."

RENAMED: list[tuple[str, str, str, Any]] = [
    (
        "webhookevent",
        "taken_until",
        "claimed_until",
        models.DateTimeField("taken until", db_column="taken_until", help_text=WORKED_ON, **MOMENT),
    ),
    (
        "webhookevent",
        "processed_at",
        "done_at",
        models.DateTimeField("processed at", db_column="processed_at", **MOMENT),
    ),
    (
        "webhookevent",
        "outcome",
        "note",
        models.CharField("outcome", db_column="outcome", max_length=500, blank=True),
    ),
    (
        "usagebatch",
        "sending_until",
        "claimed_until",
        models.DateTimeField("sending until", db_column="sending_until", **MOMENT),
    ),
    (
        "usagebatch",
        "accepted_at",
        "done_at",
        models.DateTimeField("accepted at", db_column="accepted_at", **MOMENT),
    ),
    *(
        (
            model,
            "sent_at",
            "done_at",
            models.DateTimeField("sent at", db_column="sent_at", **MOMENT),
        )
        for model in ("refund", "notice", "spendalert")
    ),
]
INDEXES = [
    (
        "webhookevent",
        models.Index(fields=["not_before"], condition=Q(done_at=None), name="webhook_unprocessed"),
    ),
    (
        "refund",
        models.Index(fields=["not_before"], condition=Q(done_at=None), name="refund_unsent"),
    ),
    (
        "notice",
        models.Index(fields=["created_at"], condition=Q(done_at=None), name="notice_unsent"),
    ),
    (
        "spendalert",
        models.Index(fields=["created_at"], condition=Q(done_at=None), name="spend_alert_unsent"),
    ),
    (
        "usagebatch",
        models.Index(
            fields=["done_at"], condition=Q(state="accepted"), name="usage_batch_unproven"
        ),
    ),
]
LEASE = "usage_batch_lease_while_sending"
LEASE_WHILE_SENDING = models.CheckConstraint(
    condition=Q(("claimed_until__isnull", False), ("state", "sending"))
    | Q(~Q(state="sending"), ("claimed_until", None)),
    name=LEASE,
)
# The same columns, indexes and constraint in the database: only the models call them otherwise.
NAMES = [
    migrations.RemoveConstraint("usagebatch", LEASE),
    *(migrations.RemoveIndex(model, index.name) for model, index in INDEXES),
    *(
        operation
        for model, old, new, field in RENAMED
        for operation in (
            migrations.AlterField(model, old, field),
            migrations.RenameField(model, old, new),
        )
    ),
    *(migrations.AddIndex(model, index) for model, index in INDEXES),
    migrations.AddConstraint("usagebatch", LEASE_WHILE_SENDING),
]


def columns() -> dict[str, Any]:
    """Those that the previous release leaves to the database's defaults."""
    return {
        "tries": models.PositiveIntegerField(default=0, db_default=0),
        "not_before": models.DateTimeField(
            default=django.utils.timezone.now,
            db_default=django.db.models.functions.datetime.Now(),
        ),
        "note": models.CharField(
            max_length=500,
            blank=True,
            default="",
            db_default="",
            help_text="What the last attempt ended with.",
        ),
    }


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_room_for_ids_of_stripe")]
    operations = [
        migrations.SeparateDatabaseAndState(state_operations=NAMES),
        *(
            migrations.AddField(
                model, "claimed_until", models.DateTimeField(help_text=WORKED_ON, **MOMENT)
            )
            for model in ("refund", "notice", "spendalert")
        ),
        *(
            migrations.AddField(model, name, field)
            for model in ("notice", "spendalert")
            for name, field in columns().items()
        ),
        *(
            migrations.AlterField(
                model, "claimed_at", models.DateTimeField(editable=False, **MOMENT)
            )
            for model in ("notice", "spendalert")
        ),
        *(
            migrations.AlterField(model, name, field)
            for model in ("webhookevent", "usagebatch", "refund")
            for name, field in columns().items()
            if (model, name) != ("webhookevent", "note")
        ),
    ]
