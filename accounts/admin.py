"""What staff see of accounts. Every page of the admin is read-only: rows change through the functions of the apps."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList, ChangeListSearchForm
from django.db.models import Model
from django.http import HttpRequest

from accounts.models import ApiKey, Membership, User

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyTabularInline = admin.TabularInline[Any, Any]
else:  # Django's classes are generic in their stubs alone
    AnyModelAdmin, AnyTabularInline = admin.ModelAdmin, admin.TabularInline


LONGEST_NUMBER = 18  # digits
LONGEST_SEARCH = 100  # characters; each word is a condition on each column that is searched


class SearchForm(ChangeListSearchForm):
    """What the lists search for, of a length that every database can work on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields[SEARCH_VAR] = forms.CharField(
            required=False, strip=False, max_length=LONGEST_SEARCH
        )


class LimitedChangeList(ChangeList):
    """Django's list, with that search."""

    search_form_class = SearchForm


class ReadOnlyMixin:
    """Rows can be looked at; nothing can be added, changed or deleted."""

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(ReadOnlyMixin, AnyModelAdmin):
    """A list and a page for each row, for reading."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return LimitedChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row; None for a number that no database can hold, which Django measures for some columns only."""
        if object_id.isdecimal() and len(object_id) > LONGEST_NUMBER:
            return None
        return super().get_object(request, object_id, from_field)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list. A date that no calendar has is a wrong filter, and Django's own answer follows."""
        try:
            return super().get_changelist_instance(request)
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters from error


class ReadOnlyInline(ReadOnlyMixin, AnyTabularInline):
    """Rows on the page of the row that they belong to, for reading."""

    extra = 0

    def get_readonly_fields(self, _request: HttpRequest, _obj: Model | None = None) -> list[Any]:
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
