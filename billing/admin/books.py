"""Checks of the books and closed months in the admin, for reading."""

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin
from billing.amounts import dollars
from billing.models import BooksCheck, ClosedMonth


@admin.register(BooksCheck)
class BooksCheckAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "ended_at", "differences", "holds", "entries", "organizations")
    list_filter = (("ended_at", admin.EmptyFieldListFilter),)
    ordering = ("-started_at", "-pk")
    fields = list_display


@admin.register(ClosedMonth)
class ClosedMonthAdmin(ReadOnlyAdmin):
    list_display = ("month", "closed_at", "captures", "captured", "holds", "entries")
    ordering = ("-month",)
    # Not the sums of each organization: there may be thousands.
    fields = (*list_display, "checksum")
    readonly_fields = ("captured",)

    @admin.display(description="Charged", ordering="captured_micros")
    def captured(self, row: ClosedMonth) -> str:
        """What was charged for images, in dollars."""
        return dollars(row.captured_micros)
