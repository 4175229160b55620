"""Invoices and what they claim, debts, sums by hour, and the record of checks of the books."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_settings_for_clients"),
        ("billing", "0013_outgoing_mails"),
    ]

    operations = [
        migrations.CreateModel(
            name="BooksCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "ended_at",
                    models.DateTimeField(
                        blank=True, help_text="Empty: it did not finish.", null=True
                    ),
                ),
                ("holds", models.PositiveBigIntegerField(default=0)),
                ("entries", models.PositiveBigIntegerField(default=0, help_text="Of the ledger.")),
                (
                    "organizations",
                    models.PositiveBigIntegerField(default=0, help_text="Compared with Stripe."),
                ),
                ("differences", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "verbose_name": "check of the books",
                "verbose_name_plural": "checks of the books",
            },
        ),
        migrations.CreateModel(
            name="ClosedMonth",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("month", models.DateField(help_text="Its first day.", unique=True)),
                ("closed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("holds", models.PositiveBigIntegerField()),
                ("captures", models.PositiveBigIntegerField()),
                ("captured_micros", models.BigIntegerField()),
                ("entries", models.PositiveBigIntegerField(help_text="Of the ledger.")),
                (
                    "checksum",
                    models.CharField(
                        help_text="SHA-256 of the sums that were proven.", max_length=64
                    ),
                ),
                ("sums", models.JSONField(default=dict, help_text="Those sums.")),
            ],
            options={
                "verbose_name": "closed month",
                "verbose_name_plural": "closed months",
            },
        ),
        migrations.CreateModel(
            name="Invoice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tries", models.PositiveIntegerField(db_default=0, default=0)),
                (
                    "not_before",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                    ),
                ),
                (
                    "claimed_until",
                    models.DateTimeField(blank=True, help_text="A process works on it.", null=True),
                ),
                ("done_at", models.DateTimeField(blank=True, null=True)),
                (
                    "note",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="What the last attempt ended with.",
                        max_length=500,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("period", "of a subscription's period"),
                            ("interim", "between, since much was used"),
                            ("leftover", "of use that no subscription bills"),
                            ("manual", "made at Stripe by hand: it claims nothing"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "reference",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        help_text="Our name for it at Stripe, where we make it ourselves.",
                        unique=True,
                    ),
                ),
                (
                    "stripe_id",
                    models.CharField(
                        blank=True,
                        help_text="Empty: Stripe has not made it yet.",
                        max_length=255,
                        null=True,
                        unique=True,
                    ),
                ),
                ("customer_id", models.CharField(max_length=255)),
                ("subscription_id", models.CharField(blank=True, max_length=255)),
                ("number", models.CharField(blank=True, max_length=255)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("open", "Open"),
                            ("paid", "Paid"),
                            ("uncollectible", "Uncollectible"),
                            ("void", "Void"),
                            ("deleted", "Deleted"),
                        ],
                        default="draft",
                        max_length=16,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, help_text="At Stripe."),
                ),
                ("period_start", models.DateTimeField(blank=True, null=True)),
                (
                    "period_end",
                    models.DateTimeField(
                        blank=True, help_text="It claims what was captured before.", null=True
                    ),
                ),
                (
                    "finalizes_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When Stripe would have made it final by itself, as it said at first; we do so shortly before.",
                        null=True,
                    ),
                ),
                (
                    "held",
                    models.BooleanField(
                        default=False,
                        help_text="Stripe does not make it final by itself (any more): we do.",
                    ),
                ),
                ("finalized_at", models.DateTimeField(blank=True, null=True)),
                ("total_cents", models.BigIntegerField(default=0)),
                ("tax_cents", models.BigIntegerField(default=0)),
                (
                    "other_cents",
                    models.BigIntegerField(
                        default=0,
                        help_text="Of lines that are neither images nor corrections of ours.",
                    ),
                ),
                (
                    "due_cents",
                    models.BigIntegerField(
                        default=0,
                        help_text="What was to be paid when it became final, credit taken off.",
                    ),
                ),
                ("paid_cents", models.BigIntegerField(default=0)),
                (
                    "read_at",
                    models.DateTimeField(
                        blank=True, help_text="When we read it at Stripe.", null=True
                    ),
                ),
            ],
            options={
                "verbose_name": "invoice",
                "verbose_name_plural": "invoices: what each claims of the ledger",
            },
        ),
        migrations.CreateModel(
            name="InvoiceLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "quantity",
                    models.PositiveBigIntegerField(
                        default=0, help_text="Images of the claimed batches."
                    ),
                ),
                (
                    "claimed_cents",
                    models.BigIntegerField(
                        default=0, help_text="What those cost, rounded to the cent, half up."
                    ),
                ),
                (
                    "carried_cents",
                    models.BigIntegerField(
                        default=0,
                        help_text="What earlier invoices billed too little; below zero: too much.",
                    ),
                ),
                (
                    "stripe_quantity",
                    models.BigIntegerField(
                        default=0, help_text="Images of Stripe's own lines, from its meter."
                    ),
                ),
                ("stripe_cents", models.BigIntegerField(default=0)),
                (
                    "correction_cents",
                    models.BigIntegerField(default=0, help_text="Of our items on the invoice."),
                ),
            ],
            options={
                "verbose_name": "line of an invoice",
                "verbose_name_plural": "lines of invoices",
            },
        ),
        migrations.CreateModel(
            name="UsageHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField(help_text="Its first moment.")),
                (
                    "key",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="The id of the API key, which may be gone; 0: the playground.",
                    ),
                ),
                (
                    "payer",
                    models.CharField(
                        choices=[("credit", "Credit"), ("subscription", "Subscription")],
                        max_length=16,
                    ),
                ),
                ("images", models.PositiveBigIntegerField(default=0)),
                ("micros", models.BigIntegerField(default=0)),
            ],
            options={
                "verbose_name": "usage of an hour",
                "verbose_name_plural": "usage by hour",
            },
        ),
        migrations.RemoveConstraint(
            model_name="ledgerentry",
            name="ledger_capture_names_its_hold",
        ),
        migrations.AddField(
            model_name="budget",
            name="owed_micros",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="What the organization owes by the ledger (account receivable), of all months; below zero is what we owe it. On its own row alone.",
            ),
        ),
        migrations.AddField(
            model_name="budget",
            name="owed_pending_micros",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="Held for images in flight that the subscription will pay. On its own row alone.",
            ),
        ),
        migrations.AddField(
            model_name="ledgerentry",
            name="reference",
            field=models.CharField(
                blank=True,
                help_text="What it records, once: an id of Stripe's, or ours with a colon and a word.",
                max_length=255,
                null=True,
                unique=True,
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="to",
            field=models.CharField(
                choices=[
                    ("credit", "credit: for more images"),
                    ("balance", "the customer's balance at Stripe: off the next invoice"),
                    ("card", "the card that paid"),
                ],
                db_default="balance",
                default="balance",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="invoices_read_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When all its invoices were compared with Stripe's last; before the first time no ceiling holds.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="paid_micros",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="What has been paid by card in all, less what was sent back or is disputed: it raises the ceiling of unpaid use.",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="past_due_owed_micros",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="What was owed and held when a payment failed; more than the allowance above it is refused.",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="unpaid_limit_micros",
            field=models.BigIntegerField(
                blank=True,
                help_text="A ceiling of unpaid use that the operators set for this organization; empty: by the settings.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="usagebatch",
            name="write_off",
            field=models.ForeignKey(
                blank=True,
                help_text="The entry that wrote it off, where no invoice could bill it.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="batches",
                to="billing.ledgerentry",
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="credit",
            field=models.CharField(
                choices=[
                    ("promotions", "Promotions (what we gave away)"),
                    ("customer_credit", "Customer credit (what we owe in images)"),
                    ("receivable", "Receivable (what customers owe)"),
                    ("revenue", "Revenue (images delivered)"),
                    ("stripe", "Balance at Stripe (what was paid, less fees)"),
                    ("fees", "Fees of Stripe"),
                    ("disputed", "Disputed payments (held by the bank)"),
                    ("losses", "Losses (written off, disputes lost)"),
                    ("rounding", "Rounding to the cent"),
                    ("taxes", "Taxes (what we owe the state)"),
                    ("other", "Other income (invoiced at Stripe by hand)"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="debit",
            field=models.CharField(
                choices=[
                    ("promotions", "Promotions (what we gave away)"),
                    ("customer_credit", "Customer credit (what we owe in images)"),
                    ("receivable", "Receivable (what customers owe)"),
                    ("revenue", "Revenue (images delivered)"),
                    ("stripe", "Balance at Stripe (what was paid, less fees)"),
                    ("fees", "Fees of Stripe"),
                    ("disputed", "Disputed payments (held by the bank)"),
                    ("losses", "Losses (written off, disputes lost)"),
                    ("rounding", "Rounding to the cent"),
                    ("taxes", "Taxes (what we owe the state)"),
                    ("other", "Other income (invoiced at Stripe by hand)"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("grant", "Grant"),
                    ("capture", "Capture"),
                    ("refund", "Refund"),
                    ("payment", "Payment"),
                    ("payout", "money sent back to a card"),
                    ("fee", "Fee"),
                    ("dispute", "Dispute"),
                    ("dispute_won", "Dispute Won"),
                    ("dispute_lost", "Dispute Lost"),
                    ("write_off", "Write Off"),
                    ("write_off_paid", "paid after it was written off"),
                    ("rounding", "Rounding"),
                    ("tax", "Tax"),
                    ("other", "invoiced at Stripe by hand"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="subscription",
            name="invoiced_until",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="For the previous release alone. A later one may drop it.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="subscription",
            name="past_due_reserved_micros",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="For the previous release alone. A later one may drop it.",
            ),
        ),
        migrations.AlterField(
            model_name="usagebatch",
            name="by_invoice",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Billed before invoices had rows here, by one that no row claims.",
            ),
        ),
        migrations.AlterField(
            model_name="usagebatch",
            name="state",
            field=models.CharField(
                choices=[
                    ("sealed", "Sealed"),
                    ("sending", "Sending"),
                    ("accepted", "Accepted"),
                    ("confirmed", "Confirmed"),
                    ("rejected", "Rejected"),
                    ("unknown", "unknown, too old to repeat"),
                    ("unmetered", "unmetered: an invoice bills it by an item"),
                    ("voided", "voided by an earlier release"),
                ],
                default="sealed",
                max_length=16,
            ),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(fields=["month"], name="hold_by_month"),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("api_key", None),
                    models.Q(("owed_micros", 0), ("owed_pending_micros", 0)),
                    _connector="OR",
                ),
                name="budget_of_a_key_owes_nothing",
            ),
        ),
        migrations.AddIndex(
            model_name="bookscheck",
            index=models.Index(fields=["-started_at"], name="books_check_by_time"),
        ),
        migrations.AddField(
            model_name="invoice",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="invoices",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="ledgerentry",
            name="invoice",
            field=models.ForeignKey(
                blank=True,
                help_text="To which it belongs: payments, fees, rounding, taxes, write-offs.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="ledger_entries",
                to="billing.invoice",
            ),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(fields=["created_at"], name="ledger_by_time"),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("hold", None), ("kind", "grant")),
                    models.Q(("hold__isnull", False), ("kind", "capture")),
                    ("kind", "refund"),
                    models.Q(
                        models.Q(("kind__in", ["grant", "capture", "refund"]), _negated=True),
                        ("hold", None),
                    ),
                    _connector="OR",
                ),
                name="ledger_capture_names_its_hold",
            ),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="carried_by",
            field=models.ForeignKey(
                blank=True,
                help_text="The later line that makes this one's error good.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="carries",
                to="billing.invoiceline",
            ),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="invoice",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="lines",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="price",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="invoice_lines",
                to="billing.price",
            ),
        ),
        migrations.AddField(
            model_name="usagebatch",
            name="invoice_line",
            field=models.ForeignKey(
                db_index=False,
                blank=True,
                help_text="The line that claims it: its images are billed there, and nowhere else.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="batches",
                to="billing.invoiceline",
            ),
        ),
        migrations.AddIndex(
            model_name="usagebatch",
            index=models.Index(
                condition=models.Q(("invoice_line", None), ("write_off", None)),
                fields=["organization", "last_captured_at"],
                name="usage_batch_unclaimed",
            ),
        ),
        migrations.AddIndex(
            model_name="usagebatch",
            index=models.Index(
                fields=["invoice_line", "last_captured_at"], name="usage_batch_by_line"
            ),
        ),
        migrations.AddIndex(
            model_name="usagebatch",
            index=models.Index(fields=["invoice_line", "timestamp"], name="usage_batch_metered"),
        ),
        migrations.AddIndex(
            model_name="usagebatch",
            index=models.Index(
                condition=models.Q(
                    ("by_invoice", True), ("write_off__isnull", False), _connector="OR"
                ),
                fields=["organization"],
                name="usage_batch_without_line",
            ),
        ),
        migrations.AddConstraint(
            model_name="usagebatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("invoice_line", None), ("write_off", None), _connector="OR"),
                name="usage_batch_billed_once",
            ),
        ),
        migrations.AddField(
            model_name="usagehour",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="usage_hours",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="usagehour",
            name="price",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="usage_hours",
                to="billing.price",
            ),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(
                fields=["organization", "-created_at"], name="invoice_by_organization"
            ),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(
                condition=models.Q(("done_at", None)),
                fields=["not_before"],
                name="invoice_unsettled",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("stripe_id", None), _negated=True),
                    ("kind__in", ["interim", "leftover"]),
                    _connector="OR",
                ),
                name="invoice_has_its_id",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finalized_at", None), ("status__in", ["draft", "deleted"])),
                    models.Q(
                        models.Q(("status__in", ["draft", "deleted"]), _negated=True),
                        ("finalized_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="invoice_final_since",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ["interim", "leftover"]), ("status", "draft")),
                fields=("organization",),
                name="invoice_one_own_draft",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.UniqueConstraint(
                fields=("invoice", "price"), name="invoice_line_once"
            ),
        ),
        migrations.AddIndex(
            model_name="usagehour",
            index=models.Index(fields=["hour"], name="usage_hour_by_time"),
        ),
        migrations.AddConstraint(
            model_name="usagehour",
            constraint=models.UniqueConstraint(
                fields=("organization", "hour", "key", "price", "payer"), name="usage_hour_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="usagehour",
            constraint=models.CheckConstraint(
                condition=models.Q(("micros__gte", 0)), name="usage_hour_never_negative"
            ),
        ),
    ]
