"""What staff see of accounts. Every page of the admin is read-only: rows change through the verbs."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from accounts.models import ApiKey, Membership, User

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyTabularInline = admin.TabularInline[Any, Any]
else:  # Django's classes are generic in their stubs alone
    AnyModelAdmin, AnyTabularInline = admin.ModelAdmin, admin.TabularInline


class Untouchable:
    """Rows can be looked at; nothing can be added, changed or deleted."""

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Never: rows are made by the platform."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Never."""
        return False


class ReadOnlyAdmin(Untouchable, AnyModelAdmin):
    """A list and a page for each row, for reading."""

    actions = None
    list_per_page = 50
    show_full_result_count = False


class ReadOnlyInline(Untouchable, AnyTabularInline):
    """Rows on the page of the row that they belong to, for reading."""

    extra = 0

    def get_readonly_fields(self, _request: HttpRequest, _obj: Model | None = None) -> list[Any]:
        """All of them."""
        return list(self.fields or ())


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ("email", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email",)
    fields = ("email", "is_active", "is_staff", "is_superuser", "date_joined", "last_login")


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "organization", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "organization")
    search_fields = ("user__email", "organization__name")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = (
        "hint",
        "name",
        "organization",
        "created_at",
        "last_used_at",
        "expires_at",
        "suspended_at",
        "revoked_at",
    )
    list_filter = (
        ("revoked_at", admin.EmptyFieldListFilter),
        ("suspended_at", admin.EmptyFieldListFilter),
        ("expires_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("organization",)
    search_fields = ("name", "prefix", "last_four", "organization__name")
    exclude: ClassVar[tuple[str, ...]] = ("digest",)
