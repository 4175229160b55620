"""The staff's pages of generations, with their refund."""

from collections.abc import Iterator

from django.contrib import admin

from accounts.admin import ReadOnlyInline
from billing import refunds
from billing.admin.actions import ActionsAdmin, AdminAction, ReasonForm
from billing.amounts import dollars
from billing.models import Hold, LedgerEntry
from images.models import Generation, Image


class ImageInline(ReadOnlyInline):
    """The picture's row; its address is the tenant's, and not shown."""

    model = Image
    fields = ("storage_key", "begins", "byte_count", "created_at", "expires_at")

    @admin.display(description="SHA-256 begins")
    def begins(self, image: Image) -> str:
        """Enough to recognize it by; all of it is wider than the page."""
        return image.sha256[:16]


def _charge(job: Generation) -> str:
    """The price and who paid it, or the state of the hold."""
    hold = job.hold
    if hold.state != Hold.State.CAPTURED:
        return f"{dollars(hold.amount_micros)}, {hold.state}"
    return f"{dollars(hold.amount_micros)}, paid by {hold.payer}"


def _refund(job: Generation, *, by: str, reason: str) -> Iterator[str]:
    refund = refunds.refund_image(hold=job.hold, reason=reason, by=by)
    yield f"{job}: {dollars(refund.entry.amount_micros)} given back{refunds.where_to(refund)}."


def _not_refundable(job: Generation) -> str:
    if job.hold.state != Hold.State.CAPTURED:
        return "It was not charged."
    if job.hold.ledger_entries.filter(kind=LedgerEntry.Kind.REFUND).exists():
        return "It was refunded before."
    return ""


REFUND = AdminAction(
    name="refund",
    label="Refund this image",
    label_for_many="Refund the chosen images",
    explanation=(
        "What the image cost is given back to whoever paid: as credit, off the next invoice, or to the card that "
        "paid if no invoice is to come. The ledger gets an entry, and the customer reads the reason there. It "
        "cannot be taken back. The picture stays."
    ),
    form=ReasonForm,
    describe=lambda job: f"{job} of {job.organization}: {_charge(job)}",
    run=_refund,
    unavailable_because=_not_refundable,
)


@admin.register(Generation)
class GenerationAdmin(ActionsAdmin):
    list_display = (
        "id",
        "created_at",
        "organization",
        "status",
        "size",
        "attempt",
        "error_code",
        "worker",
        "ended_at",
    )
    list_filter = ("status", "size", "error_code", "model")
    list_select_related = ("organization",)
    search_fields = ("id", "request_id", "organization__name")
    search_help_text = "Generation id, request id or organization"
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    inlines = (ImageInline,)
    readonly_fields = ("charge",)
    admin_actions = (REFUND,)

    @admin.display()
    def charge(self, job: Generation) -> str:
        """What it cost, who paid, and whether it was given back."""
        refund = job.hold.ledger_entries.filter(kind=LedgerEntry.Kind.REFUND).first()
        return f"{_charge(job)}{f'; given back: {refund.reason}' if refund else ''}"
