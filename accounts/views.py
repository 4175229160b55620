"""The keys pages. A new key's secret is rendered into one answer and stored nowhere."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import (
    Http404,
    HttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.access import OrganizationRequest, members_only
from accounts.forms import KeyForm, KeySettingsForm, RotationForm
from accounts.keys import keys as api_keys
from accounts.keys import rotation
from accounts.keys.status import KeyNotUsable, status_of, successor_of, with_status
from accounts.models import ApiKey, Organization
from accounts.permissions import Permission, may, require, requires

PAGE_LENGTH = 25


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def keys(request: OrganizationRequest) -> HttpResponse:
    """The organization's keys, those that matter first; a POST makes one."""
    if request.method == "POST":
        return make_key(request)
    return key_list(request, KeyForm(organization=request.organization))


@never_cache
@requires(Permission.MAKE_KEYS)
def make_key(request: OrganizationRequest) -> HttpResponse:
    """Make a key and show its secret, this once: the answer is stored by nobody."""
    form = KeyForm(request.POST, organization=request.organization)
    if not form.is_valid():
        return key_list(request, form, status=422)
    try:
        key, secret = api_keys.mint(
            organization=request.organization,
            name=form.cleaned_data["name"],
            created_by=request.user,
            expires_at=form.cleaned_data["expires_at"],
            **form.terms(),
        )
    except api_keys.KeyLimitReached as refusal:
        form.add_error(None, str(refusal))
        return key_list(request, form, status=422)
    return render(request, "dashboard/keys/made.html", {"key": key, "secret": secret})


def key_list(request: OrganizationRequest, form: KeyForm, status: int = 200) -> HttpResponse:
    """A page of the keys, with the form that makes one."""
    after = request.GET.get("after", "")
    page = key_page_after(request.organization, after)
    context = {
        "keys": with_status(page[:PAGE_LENGTH]),
        "next": page[PAGE_LENGTH - 1].pk if len(page) > PAGE_LENGTH else None,
        "first_page": not after,
        "form": form,
        "full": api_keys.is_full(request.organization),
        "limit": settings.API_KEYS_PER_ORGANIZATION,
    }
    return render(request, "dashboard/keys/list.html", context, status=status)


def key_page_after(organization: Organization, after: str) -> list[ApiKey]:
    """The keys that follow the one of that number, and one more than a page where there are more.

    Raises:
        Http404: the organization has no such key.
    """
    rows = ApiKey.objects.for_organization(organization).ended_last()
    if after:
        if not (after.isascii() and after.isdigit()):
            raise Http404
        rows = rows.after(get_object_or_404(rows, pk=int(after[:18])))
    return list(rows[: PAGE_LENGTH + 1])


def key_of(request: OrganizationRequest, pk: int) -> ApiKey:
    """The organization's key of that number; for anybody else's there is none (404)."""
    rows = ApiKey.objects.for_organization(request.organization)
    return get_object_or_404(rows.select_related("created_by", "organization"), pk=pk)


def facts_of(key: ApiKey) -> dict[str, Any]:
    """What the pages of one key have in common."""
    successor = successor_of(key)
    status = status_of(key, rotated=successor is not None)
    return {"key": key, "successor": successor, "status": status}


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def key(request: OrganizationRequest, pk: int) -> HttpResponse:
    """Everything about one key; a POST changes its name, expiry and terms."""
    found = key_of(request, pk)
    if request.method == "POST":
        return change_key(request, found)
    return key_page(request, found, KeySettingsForm(key=found))


@requires(Permission.MAKE_KEYS)
def change_key(request: OrganizationRequest, found: ApiKey) -> HttpResponse:
    """Change the key as the form says."""
    form = KeySettingsForm(request.POST, key=found)
    if not form.is_valid():
        return key_page(request, found, form, status=422)
    try:
        changed = api_keys.change(
            key=found,
            name=form.cleaned_data["name"],
            expires_at=form.cleaned_data["expires_at"],
            **form.terms(),
        )
    except KeyNotUsable as over:
        messages.error(request, f"Nothing was changed. {over}")
        return redirect("key", found.pk)
    messages.success(request, f"“{changed.name}” is changed. Applies from the next call.")
    return redirect("key", changed.pk)


def key_page(
    request: OrganizationRequest, found: ApiKey, form: KeySettingsForm, status: int = 200
) -> HttpResponse:
    """The page of one key; its form where the key still works and the reader may change it."""
    context = facts_of(found)
    usable = found.is_live and context["successor"] is None
    context["form"] = form if usable and may(request.membership, Permission.MAKE_KEYS) else None
    return render(request, "dashboard/keys/detail.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@never_cache
def rotate_key(request: OrganizationRequest, pk: int) -> HttpResponse:
    """Say what rotating will do; a POST does it and shows the new secret, this once."""
    old = key_of(request, pk)
    require(request.membership, Permission.MAKE_KEYS)
    form = RotationForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        status = 422 if form.is_bound else 200
        context = facts_of(old) | {
            "form": form,
            "usable": old.is_live,
            "expires_at": rotation.expiry_after_rotation(old, now=timezone.now()),
        }
        return render(request, "dashboard/keys/rotate.html", context, status=status)
    try:
        new, secret = rotation.rotate(key=old, overlap=form.chosen, created_by=request.user)
    except (KeyNotUsable, api_keys.KeyLimitReached) as refusal:
        messages.error(request, f"No new key was made. {refusal}")
        return redirect("key", old.pk)
    old.refresh_from_db()
    context = {"key": new, "secret": secret, "old": old, "old_works": old.is_live}
    return render(request, "dashboard/keys/made.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def revoke_key(request: OrganizationRequest, pk: int) -> HttpResponse:
    """Say what revoking will do; a POST does it."""
    found = key_of(request, pk)
    require(request.membership, Permission.MAKE_KEYS)
    if request.method == "POST":
        api_keys.revoke(found)
        messages.success(
            request, f"“{found.name}” is revoked. Calls with it are refused from now on."
        )
        return redirect("keys")
    return render(request, "dashboard/keys/revoke.html", {"key": found})
