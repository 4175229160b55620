"""Links of the admin: to Stripe's own pages, and to lists of what belongs together."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html

NOTHING = "–"


def at_stripe(kind: str, key: str | None) -> str:
    """The id, linked to Stripe's page about it (`kind` is `customers`, `subscriptions`, `prices`, `events`).

    The sandbox shows everything on one page.
    """
    if not key:
        return NOTHING
    if settings.STRIPE_SANDBOX:
        address = settings.STRIPE_API_BASE
    else:
        test = "" if "_live_" in settings.STRIPE_SECRET_KEY else "test/"
        address = f"https://dashboard.stripe.com/{test}{kind}/{key}"
    return format_html('<a href="{}" rel="noreferrer">{}</a>', address, key)


def page_of(row: Model, text: object = None) -> str:
    """The text, or the row's own, linked to the row's page."""
    opts = row._meta  # noqa: SLF001 - documented by Django
    address = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[quote(row.pk)])
    return format_html('<a href="{}">{}</a>', address, text or row)


def list_of(model: type[Model], text: str, **where: Any) -> str:
    """The text, linked to a list of those rows."""
    opts = model._meta  # noqa: SLF001 - documented by Django
    address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', address, urlencode(where), text)
