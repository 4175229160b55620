"""What staff see of money."""

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin
from billing.models import Credit, Hold, LedgerEntry, Price
from billing.templatetags.money import dollars


class AmountAdmin(ReadOnlyAdmin):
    """Shows `amount_micros` as dollars."""

    @admin.display(ordering="amount_micros")
    def amount(self, row: Price | Hold | LedgerEntry) -> str:
        """In dollars."""
        return dollars(row.amount_micros)


@admin.register(Price)
class PriceAdmin(AmountAdmin):
    list_display = ("model", "size", "version", "amount", "effective_from")
    list_filter = ("model", "size")
    ordering = ("model", "size", "-version")


@admin.register(Credit)
class CreditAdmin(ReadOnlyAdmin):
    list_display = ("organization", "granted", "pending", "posted", "remaining")
    list_select_related = ("organization",)
    search_fields = ("organization__name",)

    @admin.display(ordering="granted_micros")
    def granted(self, credit: Credit) -> str:
        """In dollars."""
        return dollars(credit.granted_micros)

    @admin.display(ordering="pending_micros")
    def pending(self, credit: Credit) -> str:
        """In dollars."""
        return dollars(credit.pending_micros)

    @admin.display(ordering="posted_micros")
    def posted(self, credit: Credit) -> str:
        """In dollars."""
        return dollars(credit.posted_micros)

    @admin.display()
    def remaining(self, credit: Credit) -> str:
        """In dollars."""
        return dollars(credit.remaining_micros)


@admin.register(Hold)
class HoldAdmin(AmountAdmin):
    list_display = ("id", "organization", "state", "amount", "payer", "created_at", "ended_at")
    list_filter = ("state", "payer")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "generation__id")
    ordering = ("-created_at",)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(AmountAdmin):
    list_display = (
        "id",
        "created_at",
        "organization",
        "kind",
        "debit",
        "credit",
        "amount",
        "reason",
    )
    list_filter = ("kind", "debit", "credit")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "hold__generation__id", "reason")
    ordering = ("-created_at", "-id")
    date_hierarchy = "created_at"
