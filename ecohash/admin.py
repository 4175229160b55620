"""The admin's organization page: members, keys, usage, revenue and payment."""

from typing import Any

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from accounts.admin import ReadOnlyInline
from accounts.models import ApiKey, Membership, Organization
from billing.admin import organizations
from billing.admin.actions import ActionsAdmin
from billing.amounts import dollars
from billing.models import Credit, UsageHour

admin.site.site_header = admin.site.site_title = "EcoHash operators"
admin.site.index_title = "Organizations, money and images"
# The same sign-in, with the same limits on guessing, as on the pages.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
# Roles stand on memberships, and addresses change through their owner: neither is edited here.
admin.site.unregister(Group)
admin.site.unregister(EmailAddress)


class MembershipInline(ReadOnlyInline):
    model = Membership
    fields = ("user", "role", "created_at")


class ApiKeyInline(ReadOnlyInline):
    model = ApiKey
    fields = ("name", "hint", "created_at", "last_used_at", "revoked_at")


@admin.register(Organization)
class OrganizationAdmin(ActionsAdmin):
    list_display = ("name", "created_at", "members", "images", "revenue", "credit_left")
    search_fields = ("name", "memberships__user__email")
    ordering = ("-created_at",)
    fieldsets = (
        (
            None,
            {"fields": ("name", "created_at", "limits_lifted", "images", "revenue", "credit_left")},
        ),
        ("Payment", {"fields": organizations.FACTS}),
    )
    readonly_fields = ("images", "revenue", "credit_left", *organizations.FACTS)
    inlines = (MembershipInline, ApiKeyInline)
    admin_actions = organizations.ADMIN_ACTIONS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        """Each organization with its sums; subqueries, since joins would multiply one another."""
        use = (
            UsageHour.objects.filter(organization=OuterRef("pk")).order_by().values("organization")
        )
        members = (
            Membership.objects.filter(organization=OuterRef("pk")).order_by().values("organization")
        )
        credit = Credit.objects.filter(organization=OuterRef("pk"))
        organizations: QuerySet[Organization] = super().get_queryset(request)
        return organizations.annotate(
            member_count=Coalesce(Subquery(members.annotate(n=Count("pk")).values("n")), 0),
            image_count=Coalesce(Subquery(use.annotate(sum=Sum("images")).values("sum")), 0),
            revenue_micros=Coalesce(Subquery(use.annotate(sum=Sum("micros")).values("sum")), 0),
            granted_micros=Subquery(credit.values("granted_micros")),
            spent_micros=Subquery(credit.values("posted_micros")),
        )

    @admin.display(ordering="member_count")
    def members(self, organization: Any) -> Any:
        """How many people belong to it."""
        return organization.member_count

    @admin.display(ordering="image_count")
    def images(self, organization: Any) -> Any:
        """Images delivered."""
        return organization.image_count

    @admin.display(ordering="revenue_micros")
    def revenue(self, organization: Any) -> str:
        """The price of those images, as text in dollars."""
        return dollars(organization.revenue_micros)

    @admin.display()
    def credit_left(self, organization: Any) -> str:
        """Granted less spent, in dollars; work under way is not counted."""
        if organization.granted_micros is None:
            return "–"
        return dollars(organization.granted_micros - organization.spent_micros)
