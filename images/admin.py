"""What staff see of generations."""

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin, ReadOnlyInline
from images.models import Generation, Image


class ImageInline(ReadOnlyInline):
    """The picture's row; its address is the tenant's, and not shown."""

    model = Image
    fields = ("storage_key", "sha256", "byte_count", "created_at", "expires_at")


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
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
