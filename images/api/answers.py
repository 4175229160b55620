"""How a generation is told to an API client: OpenAI's image answer, and the job as an object."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpResponse, JsonResponse

from images.jobs.refusals import refusal_of
from images.models import Generation
from images.pictures import links, storage
from images.queue import estimates
from images.queue.disconnects import ClientConnection

JSON = "application/json"
REPLAYED = "idempotent-replayed"
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
    job: Generation, *, client: ClientConnection, shared: bool, on_lost: OnLost
) -> HttpResponse:
    """The answer to a generation that succeeded, in the form that was asked for.

    `shared`: the job was another call's. Same bytes; a header says so. `on_lost`: see `WatchedAnswer`.

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
        on_lost=on_lost,
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
