"""Fills the sums that the last migration added with what the books hold, and keeps claims where they are.

On PostgreSQL a batch stays with the line of a final invoice, and with its write-off.
"""

from datetime import UTC
from typing import Any

from django.db import migrations
from django.db.models import Count, Exists, OuterRef, Q, Sum
from django.db.models.functions import TruncHour

AT_ONCE = 1_000

FUNCTION = """
CREATE FUNCTION ecohash_keep_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.write_off_id IS NOT NULL AND OLD.write_off_id IS DISTINCT FROM NEW.write_off_id THEN
        RAISE EXCEPTION 'a batch stays written off' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.invoice_line_id IS NOT NULL AND OLD.invoice_line_id IS DISTINCT FROM NEW.invoice_line_id AND EXISTS (
        SELECT 1 FROM billing_invoiceline JOIN billing_invoice ON billing_invoice.id = billing_invoiceline.invoice_id
        WHERE billing_invoiceline.id = OLD.invoice_line_id AND billing_invoice.finalized_at IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'a batch stays on its final invoice' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""
TRIGGER = """CREATE TRIGGER billing_usagebatch_claimed BEFORE UPDATE OF invoice_line_id, write_off_id
    ON billing_usagebatch FOR EACH ROW EXECUTE FUNCTION ecohash_keep_claim()"""


def sum_up_debts(apps: Any, _schema_editor: Any) -> None:
    """What each organization owes: what its subscription was charged, less what was given back."""
    budget, entry, hold, subscription = (
        apps.get_model("billing", name)
        for name in ("Budget", "LedgerEntry", "Hold", "Subscription")
    )
    for row in budget.objects.filter(api_key=None).iterator():
        sums = entry.objects.filter(organization=row.organization_id).aggregate(
            charged=Sum("amount_micros", filter=Q(debit="receivable")),
            given_back=Sum("amount_micros", filter=Q(credit="receivable")),
        )
        pending = hold.objects.filter(
            organization=row.organization_id, state="pending", payer="subscription"
        ).aggregate(sum=Sum("amount_micros"))["sum"]
        owed = (sums["charged"] or 0) - (sums["given_back"] or 0)
        pending = pending or 0
        budget.objects.filter(pk=row.pk).update(owed_micros=owed, owed_pending_micros=pending)
        # Where a payment has failed already, the allowance begins anew with what is owed now.
        subscription.objects.filter(organization=row.organization_id, status="past_due").update(
            past_due_owed_micros=max(owed + pending, 0)
        )


def sum_up_hours(apps: Any, _schema_editor: Any) -> None:
    """The hours in which something was delivered."""
    entry, hours = (apps.get_model("billing", name) for name in ("LedgerEntry", "UsageHour"))
    rows = (
        entry.objects.filter(kind="capture")
        .annotate(hour=TruncHour("created_at", tzinfo=UTC))
        .values("organization", "hour", "hold__api_key", "hold__price", "hold__payer")
        .annotate(images=Count("pk"), micros=Sum("amount_micros"))
        .order_by()
    )
    hours.objects.bulk_create(
        (
            hours(
                organization_id=row["organization"],
                hour=row["hour"],
                key=row["hold__api_key"] or 0,
                price_id=row["hold__price"],
                payer=row["hold__payer"],
                images=row["images"],
                micros=row["micros"],
            )
            for row in rows.iterator()
        ),
        batch_size=AT_ONCE,
    )


def mark_billed_before(apps: Any, _schema_editor: Any) -> None:
    """Use that Stripe counted for a customer that the organization has no more: its invoices cannot be read now, so
    nobody would claim it, and the next customer must not be billed for it.
    """
    batch, subscription = (
        apps.get_model("billing", name) for name in ("UsageBatch", "Subscription")
    )
    current = subscription.objects.filter(
        organization=OuterRef("organization"), customer_id=OuterRef("customer_id")
    )
    counted = batch.objects.filter(state__in=["accepted", "confirmed", "voided"])
    counted.filter(~Exists(current)).update(by_invoice=True)


def add_trigger(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FUNCTION, params=None)
        schema_editor.execute(TRIGGER, params=None)


def remove_trigger(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER billing_usagebatch_claimed ON billing_usagebatch")
        schema_editor.execute("DROP FUNCTION ecohash_keep_claim()")


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_invoices")]
    operations = [
        migrations.RunPython(sum_up_debts, migrations.RunPython.noop),
        migrations.RunPython(sum_up_hours, migrations.RunPython.noop),
        migrations.RunPython(mark_billed_before, migrations.RunPython.noop),
        migrations.RunPython(add_trigger, remove_trigger),
    ]
