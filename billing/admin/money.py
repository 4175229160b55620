"""Prices, credit, budgets, holds and the ledger in the admin."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from accounts.admin import ReadOnlyAdmin
from billing.admin.invoices import batch_and_invoice
from billing.admin.links import NOTHING, page_of
from billing.amounts import dollars
from billing.models import Budget, Credit, Hold, LedgerEntry, Price, SpendAlert, Trial
from billing.payments import debts


class AmountAdmin(ReadOnlyAdmin):
    """Shows `amount_micros` as dollars."""

    @admin.display(ordering="amount_micros")
    def amount(self, row: Price | Hold | LedgerEntry) -> str:
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
        return dollars(credit.granted_micros)

    @admin.display(ordering="pending_micros")
    def pending(self, credit: Credit) -> str:
        return dollars(credit.pending_micros)

    @admin.display(ordering="posted_micros")
    def posted(self, credit: Credit) -> str:
        return dollars(credit.posted_micros)

    @admin.display()
    def remaining(self, credit: Credit) -> str:
        return dollars(credit.remaining_micros)


@admin.register(Trial)
class TrialAdmin(ReadOnlyAdmin):
    list_display = ("organization", "outcome", "created_at")
    list_filter = ("outcome",)
    list_select_related = ("organization",)
    search_fields = ("organization__name",)
    fields = ("organization", "outcome", "created_at")
    ordering = ("-created_at",)


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin):
    list_display = (
        "organization",
        "api_key",
        "month",
        "pending",
        "posted",
        "in_flight",
        "exhausted_at",
    )
    list_filter = ("month", ("api_key", admin.EmptyFieldListFilter))
    list_select_related = ("organization", "api_key")
    search_fields = ("organization__name", "api_key__name")
    ordering = ("-month", "-posted_micros", "pk")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.debts_view)
        return [path("debts/", view, name="billing_debts"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with the way to what customers owe."""
        offered = [("What customers owe", reverse("admin:billing_debts"))]
        return super().changelist_view(
            request, {"offered_actions": offered, **(extra_context or {})}
        )

    def debts_view(self, request: HttpRequest) -> HttpResponse:
        """What each customer owes, and where it stands: as `manage.py debts` says it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = debts.debts()
        context = {
            **self.admin_site.each_context(request),
            "title": "What customers owe",
            "opts": self.opts,
            "columns": list(debts.COLUMNS),
            "rows": [(page_of(debt.organization), debt.amounts) for debt in found],
            "sums": debts.sums_of(found),
        }
        return TemplateResponse(request, "admin/debts.html", context)

    @admin.display(ordering="pending_micros")
    def pending(self, budget: Budget) -> str:
        return dollars(budget.pending_micros)

    @admin.display(ordering="posted_micros")
    def posted(self, budget: Budget) -> str:
        return dollars(budget.posted_micros)


@admin.register(SpendAlert)
class SpendAlertAdmin(ReadOnlyAdmin):
    list_display = ("budget", "month", "share", "cap", "spent", "created_at", "done_at")
    list_filter = ("month", "percent", ("done_at", admin.EmptyFieldListFilter))
    list_select_related = ("budget__organization", "budget__api_key")
    search_fields = ("budget__organization__name",)
    ordering = ("-created_at", "-percent")
    fields = (
        *("budget", "month", "percent", "cap_micros", "spent_micros", "created_at"),
        *("tries", "not_before", "claimed_until", "done_at", "note"),
    )

    @admin.display(ordering="percent")
    def share(self, alert: SpendAlert) -> str:
        """The share of the cap that was spent, in percent."""
        return f"{alert.percent} %"

    @admin.display(ordering="cap_micros")
    def cap(self, alert: SpendAlert) -> str:
        return dollars(alert.cap_micros)

    @admin.display(ordering="spent_micros")
    def spent(self, alert: SpendAlert) -> str:
        return dollars(alert.spent_micros)


@admin.register(Hold)
class HoldAdmin(AmountAdmin):
    list_display = (
        "id",
        "organization",
        "image",
        "state",
        "amount",
        "payer",
        "created_at",
        "ended_at",
    )
    list_filter = ("state", "payer")
    list_select_related = ("organization", "generation")
    search_fields = ("organization__name", "generation__id")
    ordering = ("-created_at",)
    readonly_fields = ("billed_on",)

    @admin.display(description="Batch and invoice")
    def billed_on(self, hold: Hold) -> str:
        return batch_and_invoice(hold)

    @admin.display()
    def image(self, hold: Hold) -> str:
        """The image's id, linked to its page."""
        generation = getattr(hold, "generation", None)
        return page_of(generation) if generation else NOTHING


@admin.register(LedgerEntry)
class LedgerEntryAdmin(AmountAdmin):
    list_display = (
        "id",
        "created_at",
        "organization",
        "kind",
        "debited",
        "credited",
        "amount",
        "reason",
        "invoice",
    )
    list_filter = ("kind", "debit", "credit")
    list_select_related = ("organization", "invoice")
    search_fields = ("organization__name", "hold__generation__id", "reason")
    ordering = ("-created_at", "-id")
    date_hierarchy = "created_at"

    @admin.display(description="Debit", ordering="debit")
    def debited(self, entry: LedgerEntry) -> str:
        """The account's name alone: what it means is said in the filter."""
        return entry.debit

    @admin.display(description="Credit", ordering="credit")
    def credited(self, entry: LedgerEntry) -> str:
        return entry.credit
