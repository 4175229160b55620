"""The keys pages. A new key's secret is rendered into one answer and kept nowhere."""

from django.contrib import messages
from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import keys as api_keys
from accounts.access import OrganizationRequest
from accounts.doors import may_make_keys, members_only, require_key_maker
from accounts.forms import KeyForm
from accounts.models import ApiKey


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def keys(request: OrganizationRequest) -> HttpResponse:
    """The organisation's keys, those that work first; a POST makes one."""
    if request.method == "POST":
        return make_key(request)
    return key_list(request, KeyForm())


@never_cache
def make_key(request: OrganizationRequest) -> HttpResponse:
    """Make a key and show its secret, this once: the answer is stored by nobody."""
    require_key_maker(request.membership)
    form = KeyForm(request.POST)
    if not form.is_valid():
        return key_list(request, form, status=422)
    key, secret = api_keys.mint(
        organization=request.organization,
        name=form.cleaned_data["name"],
        created_by=request.user,
    )
    return render(request, "dashboard/keys/made.html", {"key": key, "secret": secret})


def key_list(request: OrganizationRequest, form: KeyForm, status: int = 200) -> HttpResponse:
    """The page of all keys, with the form that makes one."""
    rows = (
        ApiKey.objects.for_organization(request.organization)
        .select_related("created_by")
        .order_by(F("revoked_at").asc(nulls_first=True), "-created_at", "-pk")
    )
    context = {"keys": rows, "form": form, "may_make_keys": may_make_keys(request.membership)}
    return render(request, "dashboard/keys/list.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def revoke_key(request: OrganizationRequest, pk: int) -> HttpResponse:
    """Say what revoking will do; a POST does it."""
    key = get_object_or_404(ApiKey.objects.for_organization(request.organization), pk=pk)
    require_key_maker(request.membership)
    if request.method == "POST":
        api_keys.revoke(key)
        messages.success(
            request, f"“{key.name}” is revoked. Calls with it are refused from now on."
        )
        return redirect("keys")
    return render(request, "dashboard/keys/revoke.html", {"key": key})
