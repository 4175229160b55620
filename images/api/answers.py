"""How a generation is told to an API client: OpenAI's image answer, and the job as an object."""

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.http import HttpResponse, JsonResponse

from images.jobs import idempotency
from images.jobs.refusals import refusal_of
from images.models import Generation
from images.pictures import links, storage
from images.queue import estimates
from images.queue.disconnects import ClientConnection

JSON = "application/json"
REPLAYED = "idempotent-replayed"
OnEnd = Callable[[bool], None]


class WatchedAnswer(HttpResponse):
    """An answer that knows whether all of it went out: `on_end(whole)` is called once, at its close.

    A server asks for more only when it has written what it was given, so the end of the iteration is
    the end of the writing. A connection that was closed before the first byte took nothing.
    """

    def __init__(
        self, content: bytes, *, client: ClientConnection, on_end: OnEnd, **kwargs: Any
    ) -> None:
        super().__init__(content, **kwargs)
        self._client = client
        self._on_end: OnEnd | None = on_end
        self._whole = False

    def __iter__(self) -> Iterator[bytes]:
        listening = not self._client.has_left
        yield from super().__iter__()
        self._whole = listening

    def close(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end:
            on_end(self._whole)
        super().close()


def picture_answer(job: Generation, *, client: ClientConnection, shared: bool) -> HttpResponse:
    """The answer to a generation that succeeded, in the form that was asked for.

    `shared`: the job was another call's. Same bytes; a header says so.

    The base64 is spliced in as bytes: putting megabytes through the JSON encoder costs 90 times more.
    """
    tail = {"size": job.size, "seed": job.seed, "output_format": "png"}
    head = f'{{"created": {int(job.created_at.timestamp())}, "data": [{{'
    if job.response_format == "url":
        picture = [b'"url": ', json.dumps(links.url_of(job.image)).encode()]
    else:
        png = storage.get(job.image.storage_key)
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
        on_end=partial(idempotency.note_answer, job, shared=shared),
        content_type=JSON,
        headers=({REPLAYED: "true"} if shared else {})
        | {
            "x-ecohash-cost-micros": str(job.cost_micros),
            "x-ecohash-generation-id": job.id,
            "x-ecohash-engine": job.engine,
            "x-ecohash-prompt-tokens": f"{job.prompt_tokens}/{job.prompt_tokens_seen}",
        },
    )


def job_answer(job: Generation) -> JsonResponse:
    """The job as an object; `data` holds its picture while it lives."""
    refusal = refusal_of(job)
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
            "data": _pictures(job),
            **_queue(job),
        }
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
    picture: dict[str, Any] = {"url": links.url_of(job.image), "revised_prompt": None}
    if job.response_format == "b64_json":
        picture["b64_json"] = base64.b64encode(storage.get(job.image.storage_key)).decode()
    return [picture]
