"""The API: `/v1` for callers with a key, `/i` for hosted links."""

import logging
import time
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request

from accounts.callers import GENERATE
from accounts.http import request_id
from accounts.http.addresses import caller_address
from accounts.http.refusals import InvalidRequest
from images.api import answers, key_settings
from images.api.base import ApiView, caller_key
from images.api.body import read_json_object
from images.api.ignored import ignored_header
from images.api.serializers import READ_FIELDS, GenerationSerializer, ModelNotFound
from images.api.unknown_paths import UnknownPath, explain
from images.catalog import Model
from images.jobs import admission, generation, idempotency
from images.jobs.generation_request import DEADLINE_SECONDS, GenerationRequest
from images.jobs.refusals import CallerLeft, StillRunning, refusal_of
from images.models import Generation, Image
from images.pictures import links, storage
from images.queue import waiting
from images.queue.disconnects import ClientConnection

logger = logging.getLogger(__name__)

DEADLINE_HEADER = "x-ecohash-deadline-seconds"
SHORTEST_READ_SECONDS = 1.0
LONGEST_NUMBER = 10  # digits; int() is slow beyond reason with thousands


class ImageGenerations(ApiView):
    """POST /v1/images/generations: one prompt in, one picture out.

    The base judges path, method and key; `post` is the life of a call from there on.
    """

    scope = GENERATE

    def post(self, request: Request) -> HttpResponseBase:
        begun = time.monotonic()
        client = ClientConnection.of(request.META)
        generation_request = read_request(request)
        with waiting.reserve_slot():
            # A call that repeats an earlier one is answered by that one's job.
            admitted = admission.share_earlier(generation_request)
            if admitted is None:
                # Its retry may be here already: this one must not be charged beside it.
                if client.sends_no_more:
                    raise CallerLeft
                # Any other gets a job of its own, where the rate limits and the money suffice.
                admitted = admission.admit(generation_request)
            self.rate_limit_status = admitted.rate_limit_status
            # As it was taken, not as it is by then: see `note_lost_answer`.
            on_lost = partial(idempotency.note_lost_answer, admitted.job)
            # Its own job has the call's deadline; another's may have more time.
            seconds = generation_request.deadline_seconds if admitted.shared else None
            job = generation.wait_until_finished(
                admitted.job, client=client, seconds=seconds, on_leave=on_lost
            )
            if not job.is_finished:
                on_lost()
                raise StillRunning(job)
        if refusal := refusal_of(job):
            raise refusal
        left = begun + generation_request.deadline_seconds - time.monotonic()
        answer = answers.picture_answer(
            job,
            client=client,
            shared=admitted.shared,
            on_lost=on_lost,
            # An image that was ready in the last moment is still read, where the storage is well.
            seconds=max(left, SHORTEST_READ_SECONDS),
        )
        for name, value in generation_request.answer_headers.items():
            answer[name] = value
        return answer


class ImageGeneration(ApiView):
    """/v1/images/generations/{id}: the job and, while it lives, its picture; DELETE cancels what is queued."""

    scope = GENERATE

    def get(self, request: Request, generation_id: str) -> HttpResponseBase:
        return answers.job_answer(self.find(request, generation_id))

    def delete(self, request: Request, generation_id: str) -> HttpResponseBase:
        generation.cancel(self.find(request, generation_id))
        return answers.job_answer(self.find(request, generation_id))

    def find(self, request: Request, generation_id: str) -> Generation:
        """The tenant's own job as it is now; another's is not found."""
        return generation.find(
            organization=caller_key(request).organization, generation_id=generation_id
        )


class ModelList(ApiView):
    """GET /v1/models: what is offered, and the key's aliases."""

    def get(self, request: Request) -> HttpResponseBase:
        models = key_settings.models_of(caller_key(request))
        data = [describe(name, model) for name, model in models.items()]
        return JsonResponse({"object": "list", "data": data})


class ModelDetail(ApiView):
    """GET /v1/models/{id}."""

    def get(self, request: Request, model_id: str) -> HttpResponseBase:
        model = key_settings.model_named(model_id, caller_key(request))
        if model is None:
            raise ModelNotFound(model_id)
        return JsonResponse(describe(model_id, model))


def describe(name: str, model: Model) -> dict[str, Any]:
    """A model, by that name, as OpenAI's object."""
    return {"id": name, "object": "model", "created": model.created, "owned_by": "ecohash"}


def read_request(request: Request) -> GenerationRequest:
    """The call as a valid request of its key's organization.

    Raises:
        UnsupportedContentType, RequestTooLarge, MalformedBody: see `read_json_object`.
        InvalidRequest, ModelNotFound: a field or a header is wrong.
    """
    key = caller_key(request)
    body = read_json_object(request._request)  # noqa: SLF001
    body = key_settings.with_query(body, request.query_params)
    meant, answer_headers = key_settings.as_meant(body, key)
    parameters = GenerationSerializer(data=meant).parameters()
    return GenerationRequest(
        organization=key.organization,
        api_key=key,
        address=caller_address(request.META),
        request_id=request_id.current(),
        # As it was sent: a retry is the same call, also after the key's settings were changed.
        call=idempotency.read_call(request.headers, body),
        deadline_seconds=read_deadline(request),
        answer_headers=ignored_header(body, read=READ_FIELDS) | answer_headers,
        **parameters,
    )


def read_deadline(request: Request) -> float:
    """How long the caller would wait: the header's seconds, at most our own deadline.

    Raises:
        InvalidRequest: it is there, but no whole number from 1 on.
    """
    text = request.headers.get(DEADLINE_HEADER)
    if text is None:
        return DEADLINE_SECONDS
    if not (text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER and int(text) >= 1):
        raise InvalidRequest(
            f"The header {DEADLINE_HEADER} must be a whole number of seconds, from 1 to {DEADLINE_SECONDS}.",
            code="invalid_value",
            param=DEADLINE_HEADER,
        )
    return min(int(text), DEADLINE_SECONDS)


@csrf_exempt
@login_not_required
def unknown_path(request: HttpRequest) -> HttpResponseBase:
    """Anything else under /v1: 404 in JSON, whatever the method, before any key is asked for."""
    raise UnknownPath(explain(request))


@csrf_exempt
@login_not_required
def hosted_picture(request: HttpRequest, token: str) -> HttpResponseBase:
    """GET or HEAD /i/{token}.png: the picture to whoever holds the link; no key is asked for or looked at."""
    if request.method not in {"GET", "HEAD"}:
        raise MethodNotAllowed(request.method or "")
    image = links.resolve(
        token=token, expires=request.GET.get("expires", ""), sig=request.GET.get("sig", "")
    )
    if not image.is_alive:
        raise links.LinkGone
    if request.method == "HEAD" and settings.S3_BUCKET:
        # Answered from the row: an address that is signed for GET would refuse HEAD.
        return _picture_response(HttpResponse(), image)
    try:
        return _hosted(image)
    except FileNotFoundError:
        raise links.LinkGone from None
    except OSError as error:
        logger.warning(
            "hosted image not read",
            extra={"generation": image.generation_id, **storage.describe(error)},
        )
        raise links.LinkUnavailable from None


def _hosted(image: Image) -> HttpResponseBase:
    """A redirect to the bucket, or the picture itself.

    Raises:
        OSError: the storage does not give it.
    """
    generation.close_connection()
    if address := storage.presigned_url(image.storage_key):
        return HttpResponseRedirect(address, headers={"Cache-Control": "no-store"})
    if settings.S3_BUCKET:
        return _picture_response(HttpResponse(storage.get(image.storage_key)), image)
    # From a folder the server sends it by itself, and no process holds all of it.
    return _picture_response(FileResponse(storage.open_file(image.storage_key)), image)


def _picture_response(response: HttpResponseBase, image: Image) -> HttpResponseBase:
    """The response with what holds for each form of a picture."""
    for name in ("Content-Type", "Content-Length", "Content-Disposition"):
        del response[name]
    for name, value in {
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
        "Content-Type": "image/png",
        "Content-Length": str(image.byte_count),
        "Content-Disposition": f'inline; filename="{image.token}.png"',
    }.items():
        response[name] = value
    return response
