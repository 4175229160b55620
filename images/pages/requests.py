"""The pages of past requests: a list to filter, and everything known about each one."""

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest, members_only
from accounts.models import ApiKey
from images.models import Generation, GenerationQuerySet
from images.pages import snippets
from images.pages.explanations import explain
from images.pages.timings import timings_of

PAGE_LENGTH = 25
KEYS_TO_CHOOSE = 100
PLAYGROUND = "playground"


@require_safe
@members_only
def index(request: OrganizationRequest) -> HttpResponse:
    """The organization's requests, the newest first, filtered by status and key."""
    status, key = request.GET.get("status", ""), request.GET.get("key", "")
    rows = filtered(request, status=status, key=key)
    page = list(before(rows, request.GET.get("before", ""))[: PAGE_LENGTH + 1])
    context = {
        "generations": page[:PAGE_LENGTH],
        "older": page[PAGE_LENGTH - 1].pk if len(page) > PAGE_LENGTH else None,
        "first_page": "before" not in request.GET,
        "filtered": bool(status or key),
        "statuses": Generation.Status.choices,
        "keys": keys_to_choose(request, chosen=key),
        "status": status,
        "key": key,
    }
    return render(request, "dashboard/requests/list.html", context)


def filtered(request: OrganizationRequest, *, status: str, key: str) -> GenerationQuerySet:
    """The rows that match; a filter that names nothing known matches nothing."""
    rows = Generation.objects.for_organization(request.organization)
    rows = rows.select_related("hold", "api_key", "image", "user")
    if status:
        rows = rows.filter(status=status)
    if key == PLAYGROUND:
        rows = rows.filter(user__isnull=False)
    elif key:
        rows = rows.filter(api_key_id=int(key[:18])) if key.isdecimal() else rows.none()
    return rows


def keys_to_choose(request: OrganizationRequest, *, chosen: str) -> list[ApiKey]:
    """The keys that the filter offers: not thousands, and in any case the one that is chosen."""
    keys = ApiKey.objects.for_organization(request.organization)
    offered = list(keys.ended_last()[:KEYS_TO_CHOOSE])
    if chosen.isdecimal() and all(str(key.pk) != chosen for key in offered):
        offered += keys.filter(pk=int(chosen[:18]))
    return offered


def before(rows: GenerationQuerySet, pk: str) -> GenerationQuerySet:
    """Those older than that one: unlike a page number, this holds still while new ones arrive."""
    if not pk:
        return rows
    last = get_object_or_404(rows, pk=pk)
    return rows.filter(
        Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk)
    )


@require_safe
@members_only
def detail(request: OrganizationRequest, pk: str) -> HttpResponse:
    """One request: the picture while it lives, where the time went, what it cost, what went wrong."""
    rows = Generation.objects.for_organization(request.organization)
    job = get_object_or_404(rows.select_related("hold", "api_key", "image", "user"), pk=pk)
    context = {
        "generation": job,
        "timings": timings_of(job),
        "explanation": explain(job),
        "call": snippets.ApiCall(prompt=job.prompt, size=job.size, seed=job.seed, model=job.model),
    }
    return render(request, "dashboard/requests/detail.html", context)
