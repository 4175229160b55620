"""The playground: draw in the browser what the API would draw, for the same price.

It admits through `admission.admit` like every caller, and returns at once. What moves on the page
is fetched again and again from `state` until the run has ended.
"""

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import OrganizationRequest, members_only
from accounts.callers import NotAMember
from accounts.http import request_id
from accounts.http.refusals import Refusal
from accounts.permissions import Permission, requires
from billing.ledger import pricing
from billing.ledger.holds import InsufficientQuota
from billing.models import Credit
from images.catalog import DEFAULT_MODEL, MODELS, SIZES
from images.jobs import admission, generation
from images.jobs.generation_request import GenerationRequest
from images.models import Generation, GenerationQuerySet
from images.pages import snippets
from images.pages.explanations import explain
from images.pages.forms import PlaygroundForm
from images.pages.timings import timings_of
from images.queue import estimates, signals

HISTORY_LENGTH = 12


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def playground(request: OrganizationRequest) -> HttpResponse:
    """The form; a POST draws. `?like=<id>` fills in an earlier request, `?model=` and `?size=` those alone."""
    if request.method == "POST":
        return draw(request)
    if like := request.GET.get("like"):
        jobs = Generation.objects.for_organization(request.organization)
        return render_page(request, form_like(get_object_or_404(jobs, pk=like)))
    offered: dict[str, Collection[str]] = {"model": MODELS, "size": SIZES}
    chosen = {name: request.GET.get(name) for name in offered}
    initial = {name: value for name, value in chosen.items() if value in offered[name]}
    return render_page(request, PlaygroundForm(initial=initial))


@requires(Permission.GENERATE)
def draw(request: OrganizationRequest) -> HttpResponse:
    """Admit what was asked for and show the run, or say next to the form why not."""
    form = PlaygroundForm(request.POST)
    if not form.is_valid():
        return render_refusal(request, form)
    try:
        admitted = admission.admit(
            GenerationRequest(
                organization=request.organization,
                user=request.user,
                model=form.cleaned_data["model"],
                prompt=form.cleaned_data["prompt"],
                size=form.cleaned_data["size"],
                seed=form.cleaned_data["seed"],
                response_format="url",
                request_id=request_id.current(),
            )
        )
    except NotAMember as refusal:
        raise PermissionDenied(str(refusal)) from None
    except Refusal as refusal:
        form.add_error(None, str(refusal))
        return render_refusal(request, form, out_of_credit=isinstance(refusal, InsufficientQuota))
    if not wants_fragment(request):
        return redirect("playground_run", admitted.job.pk)
    response = render_run(request, admitted.job)
    response["HX-Push-Url"] = f"/playground/{admitted.job.pk}"
    return response


def render_refusal(
    request: OrganizationRequest, form: PlaygroundForm, *, out_of_credit: bool = False
) -> HttpResponse:
    """The form again with what is wrong beside it; what was typed is kept."""
    if not wants_fragment(request):
        return render_page(request, form, status=422, out_of_credit=out_of_credit)
    context = form_context(request, form) | {"out_of_credit": out_of_credit}
    response = render(request, "playground/form.html", context, status=422)
    response["HX-Retarget"] = "#playground-form"
    response["HX-Reswap"] = "outerHTML"
    return response


@require_safe
@members_only
def run(request: OrganizationRequest, pk: str) -> HttpResponse:
    """The page with one run on it."""
    job = find(request, pk)
    return render_page(request, form_like(job), job=job)


@require_safe
@never_cache
@members_only
def state(request: OrganizationRequest, pk: str) -> HttpResponse:
    """One run as it is now, for the page to put in place of what it shows."""
    return render_run(request, find(request, pk))


@require_POST
@members_only
def cancel(request: OrganizationRequest, pk: str) -> HttpResponse:
    """Take a waiting run back; one that is being drawn by now goes on."""
    generation.cancel(find(request, pk))
    if not wants_fragment(request):
        return redirect("playground_run", pk)
    return render_run(request, find(request, pk))


@require_safe
@never_cache
@members_only
def history(request: OrganizationRequest) -> HttpResponse:
    """The organization's last runs, for the page to put in place of what it shows."""
    return render(request, "playground/history.html", {"history": last_runs(request)})


def render_page(
    request: OrganizationRequest,
    form: PlaygroundForm,
    *,
    job: Generation | None = None,
    status: int = 200,
    out_of_credit: bool = False,
) -> HttpResponse:
    """The whole page, with a form and at most one run."""
    context = form_context(request, form) | {
        "history": last_runs(request),
        "out_of_credit": out_of_credit,
        "run": run_context(job) if job else None,
    }
    return render(request, "playground/page.html", context, status=status)


def render_run(request: OrganizationRequest, job: Generation) -> HttpResponse:
    """The run and the credit left. Its beginning and its end are events, so that the history follows."""
    context = {"run": run_context(job), "credit": credit_of(request)}
    response = render(request, "playground/stage.html", context)
    if request.method == "POST" or job.is_finished:
        response["HX-Trigger"] = "history-changed"
    return response


def form_context(request: OrganizationRequest, form: PlaygroundForm) -> dict[str, Any]:
    """What the form shows beside its fields: prices, credit left, and the workers of the model."""
    chosen = form["model"].value()
    model = chosen if chosen in MODELS else DEFAULT_MODEL
    prices = pricing.prices_in_force(model)
    workers = [worker for worker in signals.live_workers() if worker.model == model]
    return {
        "form": form,
        "models": MODELS,
        "chosen_size": form["size"].value(),
        "sizes": [(size, prices[size].amount_micros) for size in SIZES if size in prices],
        "credit": credit_of(request),
        "workers": workers,
        "fingerprints": sorted({worker.fingerprint for worker in workers}),
        "deadline_seconds": settings.REQUEST_DEADLINE_SECONDS,
    }


def credit_of(request: OrganizationRequest) -> Credit | None:
    """The organization's credit row, if it has one."""
    return Credit.objects.filter(organization=request.organization).first()


def run_context(job: Generation) -> dict[str, Any]:
    """Everything that `playground/run.html` says about a run."""
    return {
        "job": job,
        "position": estimates.position_of(job),
        "progress": signals.step_of(job.pk) if job.status == Generation.Status.RUNNING else None,
        "steps": MODELS[job.model].steps,
        "deadline_seconds": settings.REQUEST_DEADLINE_SECONDS,
        "is_late": job.status == Generation.Status.RUNNING and job.deadline_at < timezone.now(),
        "anyone_there": job.is_finished
        or any(worker.model == job.model for worker in signals.live_workers()),
        "timings": timings_of(job),
        "explanation": explain(job),
        "call": snippets.ApiCall(prompt=job.prompt, size=job.size, seed=job.seed, model=job.model),
    }


def last_runs(request: OrganizationRequest) -> GenerationQuerySet:
    """The organization's latest runs from this page, the newest first."""
    runs = Generation.objects.for_organization(request.organization).filter(user__isnull=False)
    return runs.select_related("hold", "image")[:HISTORY_LENGTH]


def find(request: OrganizationRequest, pk: str) -> Generation:
    """The organization's own generation; another's is 404."""
    mine = Generation.objects.for_organization(request.organization)
    return get_object_or_404(mine.select_related("hold", "image"), pk=pk)


def form_like(job: Generation) -> PlaygroundForm:
    """The form filled with what was asked of that generation."""
    fields = ("model", "prompt", "size", "seed")
    return PlaygroundForm(initial={name: getattr(job, name) for name in fields})


def wants_fragment(request: HttpRequest) -> bool:
    """Whether the page's script sent the request, and not the browser itself."""
    return request.headers.get("HX-Request") == "true"
