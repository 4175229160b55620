"""The pages of the admin, as tests find, read and use them."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.test import Client
from django.urls import reverse

OURS = [
    (model, page)
    for model, page in admin.site._registry.items()
    if model.__module__.startswith(("accounts.", "billing.", "images.", "ecohash."))
]
ADMIN_ACTIONS = [
    (model, action) for model, page in OURS for action in getattr(page, "admin_actions", ())
]
WHY = "Because of the storm"


def list_page(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(row: Model) -> str:
    return f"{list_page(type(row))}{quote(row.pk)}/change/"


def action_page(model: type[Model], name: str, *rows: Model) -> str:
    return f"{list_page(model)}act/{name}/?{urlencode([('pk', row.pk) for row in rows])}"


def text(answer: Any) -> str:
    """What a reader sees of a page."""
    seen = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(seen).split())


def do(
    client: Client, name: str, *rows: Model, model: type[Model] | None = None, **asked: Any
) -> str:
    """Read the action's page, then do it; returns what the next page says."""
    page = action_page(model or type(rows[0]), name, *rows)
    assert client.get(page).status_code == 200
    answer = client.post(page, asked, follow=True)
    assert answer.redirect_chain, text(answer)
    return text(answer)
