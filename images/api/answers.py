"""How a generation is told to an API client: OpenAI's image answer, and the job as an object."""

import base64
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpResponse, JsonResponse

from accounts.http.refusals import Refusal
from images.catalog import SIZES
from images.jobs import generation
from images.jobs.refusals import ImageMissing, ImageUnreadable, refusal_of
from images.models import Generation
from images.pictures import links, storage
from images.queue import estimates
from images.queue.disconnects import ClientConnection

logger = logging.getLogger(__name__)

JSON = "application/json"
REPLAYED = "idempotent-replayed"
# FLUX packs a latent for each 16x16 pixels into one token of its transformer.
PIXELS_IN_A_TOKEN = 256
OnLost = Callable[[], None]


class WatchedAnswer(HttpResponse):
    """An answer that sees when it is lost: `on_lost()` is then called once, at its close.

    A server asks for more only when it has written what it was given. So an iteration that does not end
    was lost for certain, and so was one that began when the client had gone. One that ended proves
    nothing: the next hop took the bytes, a socket's buffer or a proxy, and the client may never get them.
    """

    def __init__(
        self, content: bytes, *, client: ClientConnection, on_lost: OnLost, **kwargs: Any
    ) -> None:
        super().__init__(content, **kwargs)
        self._client = client
        self._on_lost: OnLost | None = on_lost

    def __iter__(self) -> Iterator[bytes]:
        listening = not self._client.sends_no_more
        yield from super().__iter__()
        if listening:
            self._on_lost = None

    def close(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost:
            on_lost()
        super().close()


def picture_answer(
    job: Generation,
    *,
    client: ClientConnection,
    shared: bool,
    on_lost: OnLost,
    seconds: float | None = None,
) -> HttpResponse:
    """The answer to a generation that succeeded, in the form that was asked for.

    `shared`: the job was another call's. Same bytes; a header says so. `on_lost`: see `WatchedAnswer`.
    `seconds` are what is left of the caller's time.

    Raises:
        ImageUnreadable, ImageMissing: it was charged, and the storage does not give it.

    The base64 is spliced in as bytes: putting megabytes through the JSON encoder costs 90 times more.
    """
    tail = {
        "size": job.size,
        "seed": job.seed,
        "output_format": "png",
        "quality": "auto",
        "background": "opaque",
        "usage": usage_of(job),
    }
    head = f'{{"created": {int(job.created_at.timestamp())}, "data": [{{'
    if job.response_format == "url":
        picture = [b'"url": ', json.dumps(links.url_of(job.image)).encode()]
    else:
        try:
            png = read_png(job, seconds=seconds)
        except Refusal:
            on_lost()
            raise
        picture = [b'"b64_json": "', base64.b64encode(png), b'"']
    parts = [
        head.encode(),
        *picture,
        b', "revised_prompt": null}], ',
        json.dumps(tail)[1:].encode(),
    ]
    return WatchedAnswer(
        b"".join(parts),
        client=client,
        on_lost=on_lost,
        content_type=JSON,
        headers=({REPLAYED: "true"} if shared else {})
        | {
            "x-ecohash-cost-micros": str(job.cost_micros),
            "x-ecohash-generation-id": job.id,
            "x-ecohash-engine": job.engine,
            "x-ecohash-prompt-tokens": f"{job.prompt_tokens}/{job.prompt_tokens_seen}",
        }
        | _unknown(job),
    )


def usage_of(job: Generation) -> dict[str, Any]:
    """Tokens as OpenAI's clients look for them: what the model read of the prompt, and of the image 16x16 pixels each.

    They say nothing of the price, which is flat for each size.
    """
    width, height = SIZES[job.size]
    seen, drawn = job.prompt_tokens_seen or 0, width * height // PIXELS_IN_A_TOKEN
    return {
        "input_tokens": seen,
        "input_tokens_details": {"text_tokens": seen, "image_tokens": 0},
        "output_tokens": drawn,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": drawn},
        "total_tokens": seen + drawn,
    }


def read_png(job: Generation, *, seconds: float | None = None) -> bytes:
    """The image of a generation that succeeded, from storage. Holds no database connection meanwhile.

    Raises:
        ImageUnreadable: the storage refuses, or does not send all of it within `seconds`.
        ImageMissing: it is not there.
    """
    generation.close_connection()
    told = {"generation": job.id}
    try:
        png = storage.get(job.image.storage_key, seconds=seconds)
    except FileNotFoundError:
        logger.error("charged image missing from storage", extra=told)  # noqa: TRY400 - no trace
        raise ImageMissing(job) from None
    except OSError as error:
        logger.warning("charged image not read", extra=told | storage.describe(error))
        raise ImageUnreadable(job) from None
    if len(png) != job.image.byte_count:
        logger.error("charged image has another length in storage", extra=told)
        raise ImageUnreadable(job)
    return png


def _unknown(job: Generation) -> dict[str, str]:
    """Said only where the model knows less than half of the prompt: see `Drawing.prompt_tokens_unknown`."""
    if not job.prompt_tokens_unknown:
        return {}
    return {"x-ecohash-prompt-tokens-unknown": str(job.prompt_tokens_unknown)}


def job_answer(job: Generation) -> JsonResponse:
    """The job as an object; `data` holds its picture while it lives.

    An image that cannot be read leaves the rest of the answer as it is: its `b64_json` is null, its `url`
    may still work, and `error` says why.
    """
    refusal = refusal_of(job)
    pictures = _pictures(job)
    if pictures and job.response_format == "b64_json":
        try:
            png: bytes | None = read_png(job)
        except Refusal as unreadable:
            refusal, png = unreadable, None
        pictures[0]["b64_json"] = None if png is None else base64.b64encode(png).decode()
    return JsonResponse(
        {
            "id": job.id,
            "object": "image.generation",
            "status": job.status,
            "created": int(job.created_at.timestamp()),
            "model": job.model,
            "size": job.size,
            "seed": job.seed,
            "cost_micros": job.cost_micros,
            "error": refusal.body()["error"] if refusal else None,
            "data": pictures,
            **_queue(job),
        },
        headers=refusal.headers if isinstance(refusal, ImageUnreadable) else {},
    )


def _queue(job: Generation) -> dict[str, Any]:
    """Where a queued job stands: 1 is next. The wait is null when nobody can know."""
    queued = estimates.position_of(job)
    if queued is None:
        return {}
    return {"queue": {"position": queued.position, "estimated_wait_seconds": queued.wait_seconds}}


def _pictures(job: Generation) -> list[dict[str, Any]]:
    if job.status != Generation.Status.SUCCEEDED or not job.image.is_alive:
        return []
    return [{"url": links.url_of(job.image), "revised_prompt": None}]
