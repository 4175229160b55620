"""Invoices in the admin: what each says, what it claims, and from there to batches and images and back."""

from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet, Sum
from django.http import HttpRequest
from django.utils.html import format_html

from accounts.admin import ReadOnlyAdmin, ReadOnlyInline
from billing.admin.links import NOTHING, at_stripe, list_of, page_of
from billing.amounts import dollars, dollars_of_cents
from billing.models import Hold, Invoice, InvoiceLine, LedgerEntry, UsageBatch
from billing.statements import invoice as statements
from billing.statements import text


def error_of(lines: str = "") -> Any:
    """What lines bill too much, in cents; `lines` is the way to them, with its underscores."""
    billed = F(f"{lines}stripe_cents") + F(f"{lines}correction_cents")
    return billed - F(f"{lines}claimed_cents") - F(f"{lines}carried_cents")


def billed_on(batch: UsageBatch | None) -> str:
    """The invoice that bills the batch, or the entry that wrote it off, linked."""
    if batch is None:
        return NOTHING
    if batch.invoice_line:
        return page_of(batch.invoice_line.invoice)
    if batch.write_off:
        return page_of(batch.write_off, f"written off: {batch.write_off.reason}")
    return "no invoice yet"


def batch_and_invoice(hold: Hold) -> str:
    """The batch in which an image is reported, and the invoice that bills it, linked."""
    if hold.usage_batch is None:
        return NOTHING
    return format_html("{} · {}", page_of(hold.usage_batch), billed_on(hold.usage_batch))


class ErrorFilter(admin.SimpleListFilter):
    """Invoices with lines that bill something else than they claim."""

    title = "error"
    parameter_name = "error"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [("any", "Some line is wrong"), ("open", "And not made good")]

    def queryset(self, _request: HttpRequest, invoices: QuerySet[Invoice]) -> QuerySet[Invoice]:
        wrong = InvoiceLine.objects.annotate(error=error_of()).exclude(error=0)
        match self.value():
            case "any":
                return invoices.filter(pk__in=wrong.values("invoice"))
            case "open":
                return invoices.filter(pk__in=wrong.filter(carried_by=None).values("invoice"))
        return invoices


class InvoiceLineInline(ReadOnlyInline):
    """What the invoice says and claims of each price; amounts in dollars."""

    model = InvoiceLine
    fk_name = "invoice"
    fields = (
        *("price", "images", "claimed", "carried", "at_stripe", "correction", "error"),
        *("made_good_by", "batches"),
    )
    verbose_name_plural = "Lines"

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceLine]:
        rows: QuerySet[InvoiceLine] = super().get_queryset(request)
        return rows.select_related("price", "invoice", "carried_by__invoice").order_by("price")

    @admin.display()
    def images(self, line: InvoiceLine) -> str:
        """The images that it claims, and those of Stripe's meter."""
        return f"{line.quantity:,} (meter: {line.stripe_quantity:,})"

    @admin.display()
    def claimed(self, line: InvoiceLine) -> str:
        return dollars_of_cents(line.claimed_cents)

    @admin.display()
    def carried(self, line: InvoiceLine) -> str:
        return dollars_of_cents(line.carried_cents)

    @admin.display(description="Stripe's line")
    def at_stripe(self, line: InvoiceLine) -> str:
        return dollars_of_cents(line.stripe_cents)

    @admin.display()
    def correction(self, line: InvoiceLine) -> str:
        return dollars_of_cents(line.correction_cents)

    @admin.display()
    def error(self, line: InvoiceLine) -> str:
        return dollars_of_cents(line.error_cents)

    @admin.display()
    def made_good_by(self, line: InvoiceLine) -> str:
        """The later invoice that makes the error good."""
        return page_of(line.carried_by.invoice) if line.carried_by else NOTHING

    @admin.display()
    def batches(self, line: InvoiceLine) -> str:
        """A link to the batches that the line claims."""
        return list_of(UsageBatch, "Batches", invoice_line__id__exact=line.pk)


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    list_display = (
        *("name", "organization", "kind_name", "status", "total", "error", "period"),
        *("created_at", "held", "settled_at", "note"),
    )
    list_display_links = ("name",)
    list_filter = (
        *("status", "kind", "held"),
        ("done_at", admin.EmptyFieldListFilter),
        ErrorFilter,
    )
    list_select_related = ("organization",)
    search_fields = ("number", "stripe_id", "organization__name", "customer_id", "note")
    search_help_text = "Number, id at Stripe, organization or customer"
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    fields = (
        *("organization", "kind", "status", "number", "page_at_stripe", "customer_id"),
        *("subscription_id", "reference", "created_at", "period_start", "period_end"),
        *("finalizes_at", "held", "finalized_at", "total", "tax", "other", "due", "paid"),
        *("error", "entries", "tries", "not_before", "claimed_until", "done_at", "note"),
        *("read_at", "statement"),
    )
    readonly_fields = (
        *("reference", "page_at_stripe", "total", "tax", "other", "due", "paid", "error"),
        *("entries", "statement"),
    )
    inlines = (InvoiceLineInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        return (
            super().get_queryset(request).annotate(error_cents=Sum(error_of("lines__"), default=0))
        )

    @admin.display(description="Invoice", ordering="number")
    def name(self, invoice: Invoice) -> str:
        return str(invoice)

    @admin.display(ordering="period_end")
    def period(self, invoice: Invoice) -> str:
        """Its days, as far as it has any."""
        days = [moment for moment in (invoice.period_start, invoice.period_end) if moment]
        return " to ".join(f"{moment:%Y-%m-%d}" for moment in days) or NOTHING

    @admin.display(description="Kind", ordering="kind")
    def kind_name(self, invoice: Invoice) -> str:
        """The kind's name alone: what it means is said in the filter."""
        return invoice.kind

    @admin.display(description="Settled at", ordering="done_at")
    def settled_at(self, invoice: Invoice) -> Any:
        return invoice.done_at

    @admin.display(ordering="total_cents")
    def total(self, invoice: Invoice) -> str:
        return dollars_of_cents(invoice.total_cents)

    @admin.display()
    def tax(self, invoice: Invoice) -> str:
        return dollars_of_cents(invoice.tax_cents)

    @admin.display(description="Lines that are not ours")
    def other(self, invoice: Invoice) -> str:
        return dollars_of_cents(invoice.other_cents)

    @admin.display()
    def due(self, invoice: Invoice) -> str:
        return dollars_of_cents(invoice.due_cents)

    @admin.display()
    def paid(self, invoice: Invoice) -> str:
        return dollars_of_cents(invoice.paid_cents)

    @admin.display(description="Billed too much", ordering="error_cents")
    def error(self, invoice: Any) -> str:
        """The sum over its lines; below zero: too little."""
        return dollars_of_cents(invoice.error_cents) if invoice.error_cents else NOTHING

    @admin.display(description="At Stripe")
    def page_at_stripe(self, invoice: Invoice) -> str:
        return at_stripe("invoices", invoice.stripe_id)

    @admin.display(description="Ledger")
    def entries(self, invoice: Invoice) -> str:
        """How many entries are about it and what they come to, linked."""
        found = LedgerEntry.objects.filter(invoice=invoice).order_by()
        sums = found.aggregate(micros=Sum("amount_micros", default=0))
        count = found.count()
        words = f"{count} {'entry' if count == 1 else 'entries'}, {dollars(sums['micros'])} moved"
        return list_of(LedgerEntry, words, invoice__id__exact=invoice.pk)

    @admin.display()
    def statement(self, invoice: Invoice) -> str:
        """What the customer sees on the dashboard, as text."""
        lines = "\n".join(text.of_invoice(statements.statement_of(invoice)))
        return format_html("<pre>{}</pre>", lines)
