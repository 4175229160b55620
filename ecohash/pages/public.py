"""The public pages, and the context that every template has."""

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from accounts.models import ApiKey, Membership, User
from billing.ledger import pricing
from ecohash.pages import clients
from images.catalog import DEFAULT_MODEL, DEFAULT_SIZE, MODELS, PROMPT_LIMIT, SEED_LIMIT, SIZES
from images.pages import snippets

EXAMPLE_PROMPT = "A watercolor painting of a fox in a misty forest, soft light"
EXAMPLE_SEED = 7


def site(request: HttpRequest) -> dict[str, Any]:  # noqa: ARG001 - a context processor's signature
    """Context processor: the addresses that pages name, and where mail goes without a mail server."""
    to_folder = settings.EMAIL_BACKEND == "ecohash.mail.FolderBackend" and not settings.PRODUCTION
    return {
        "app_name": "EcoHash",
        "base_url": settings.BASE_URL,
        "api_base": f"{settings.BASE_URL}/v1",
        "default_model": MODELS[DEFAULT_MODEL],
        "mail_folder": settings.VAR_DIR / "mail" if to_folder else None,
    }


@login_not_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The home page, with an example call and the prices."""
    context = {
        "example": snippets.ApiCall(prompt=EXAMPLE_PROMPT, size=DEFAULT_SIZE, seed=EXAMPLE_SEED),
        "prices": offered_sizes(),
    }
    return render(request, "public/home.html", context)


@login_not_required
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """The quickstart and the reference of the one call."""
    context = {
        "example": snippets.ApiCall(prompt=EXAMPLE_PROMPT, size=DEFAULT_SIZE, seed=EXAMPLE_SEED),
        "prices": offered_sizes(),
        "readers_key": key_of_reader(request),
        "prompt_limit": PROMPT_LIMIT,
        "seed_limit": SEED_LIMIT,
        "deadline_seconds": settings.REQUEST_DEADLINE_SECONDS,
        "limits": {
            "requests_per_minute": settings.REQUESTS_PER_MINUTE,
            "images_per_minute": settings.IMAGES_PER_MINUTE,
            "images_in_flight": settings.IMAGES_IN_FLIGHT,
        },
        "link_hours": settings.IMAGE_LIFETIME_SECONDS // 3600,
        "spending": settings.SPENDING,
    }
    return render(request, "public/docs.html", context)


@login_not_required
@require_safe
def docs_clients(request: HttpRequest) -> HttpResponse:
    """What each client needs, and what it cannot do."""
    context = {
        "groups": clients.groups(),
        "link_hours": settings.IMAGE_LIFETIME_SECONDS // 3600,
    }
    return render(request, "public/docs_clients.html", context)


@login_not_required
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - a view's signature
    """For programs that ask without reading the page; browsers take the link in `base.html`."""
    return redirect(static("ecohash/favicon.svg"))


def offered_sizes() -> list[tuple[str, int]]:
    """(size, price in micro-dollars) of each size on offer that has a price, in the catalog's order."""
    prices = pricing.prices_in_force(DEFAULT_MODEL)
    return [(size, prices[size].amount_micros) for size in SIZES if size in prices]


def key_of_reader(request: HttpRequest) -> ApiKey | None:
    """A live key of the signed-in reader, for the examples; None for a visitor."""
    membership: Membership | None = getattr(request, "membership", None)
    if not isinstance(request.user, User) or not membership:
        return None
    return ApiKey.objects.for_organization(membership.organization).live().first()
