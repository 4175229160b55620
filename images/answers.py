"""How a generation is told to an API client: OpenAI's image answer, and the job as an object."""

import base64
import json
from typing import Any

from django.http import HttpResponse, JsonResponse

from images import generation, links, storage
from images.models import Generation

JSON = "application/json"


def picture_answer(job: Generation) -> HttpResponse:
    """The answer to a generation that succeeded, in the form that was asked for.

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
    return HttpResponse(
        b"".join(parts),
        content_type=JSON,
        headers={
            "x-ecohash-cost-micros": str(job.cost_micros),
            "x-ecohash-generation-id": job.id,
            "x-ecohash-engine": job.engine,
            "x-ecohash-prompt-tokens": f"{job.prompt_tokens}/{job.prompt_tokens_seen}",
        },
    )


def job_answer(job: Generation) -> JsonResponse:
    """The job as an object; `data` holds its picture while it lives."""
    refusal = generation.refusal_of(job)
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
        }
    )


def _pictures(job: Generation) -> list[dict[str, Any]]:
    if job.status != Generation.Status.SUCCEEDED or not job.image.is_alive:
        return []
    picture: dict[str, Any] = {"url": links.url_of(job.image), "revised_prompt": None}
    if job.response_format == "b64_json":
        picture["b64_json"] = base64.b64encode(storage.get(job.image.storage_key)).decode()
    return [picture]
