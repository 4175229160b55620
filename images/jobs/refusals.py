"""Why a call gets no image, as its caller is told."""

import math

from accounts.http.refusals import Refusal
from accounts.limits.buckets import retry_after
from images.models import Generation

RETRY_AFTER_SECONDS = 5

UNUSABLE_IMAGE = "unusable_image"
"""The `error_code` of a generation whose attempt gave an image that cannot be sold."""


class DeadlinePassed(Refusal):
    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    text = "The image was not ready within the deadline. Nothing was charged. Please try again."


class StillRunning(DeadlinePassed):
    """The caller's deadline passed, and the job goes on: it was begun, or somebody else waits for it.
    Or nobody knows, while the database is away.

    The only refusal that may be followed by a charge. It carries the id of the job.
    """

    def __init__(self, job: Generation) -> None:
        begun = job.status == Generation.Status.RUNNING
        state = "being generated" if begun else "still in the queue"
        again = " or send the same request with the same Idempotency-Key again"
        super().__init__(
            f"The image was not ready within the deadline. It is {state}, and will be charged when it is "
            f"delivered. Get it with GET /v1/images/generations/{job.id}"
            f"{again if job.idempotency_key else ''}; it is kept for 24 hours."
        )
        self.headers = {
            "Retry-After": str(RETRY_AFTER_SECONDS),
            "x-ecohash-generation-id": job.id,
        }


class ImageUnreadable(Refusal):
    """The image is there and charged, and the storage does not give it to us.

    A retry of an SDK joins the same job, for nobody has its answer.
    """

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"

    def __init__(self, job: Generation) -> None:
        again = ", or send the same request with the same Idempotency-Key again"
        super().__init__(
            "The image was generated and charged, but could not be read from storage. Get it with GET "
            f"/v1/images/generations/{job.id}{again if job.idempotency_key else ''}; it is kept for "
            "24 hours. This costs nothing more."
        )
        self.headers = {"Retry-After": str(RETRY_AFTER_SECONDS), **charged(job)}


class ImageMissing(Refusal):
    """The image was stored and charged, and the storage has it no more: only people can help."""

    status = 500
    type = "server_error"

    def __init__(self, job: Generation) -> None:
        super().__init__(
            "The image was generated and charged, but is missing from storage. Contact support with its "
            f"id, {job.id}, for a refund."
        )
        self.headers = {"x-should-retry": "false", **charged(job)}


def charged(job: Generation) -> dict[str, str]:
    """The headers of an error that came after the charge: which job, and what it cost."""
    return {
        "x-ecohash-generation-id": job.id,
        "x-ecohash-cost-micros": str(job.cost_micros),
    }


class DeadlineImpossible(Refusal):
    """The queue is longer than the caller would wait. Said before anything is drawn."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"

    def __init__(self, *, deadline_seconds: float, seconds: float) -> None:
        super().__init__(
            f"The image would take about {math.ceil(seconds)} seconds, with the queue as it is, and the "
            f"deadline is {deadline_seconds:g}. Nothing was drawn or charged. Please try again later."
        )
        self.headers = {"Retry-After": str(retry_after(seconds - deadline_seconds))}


class GenerationFailed(Refusal):
    """Both attempts failed; what the caller is told depends on how the last one did."""

    status = 500
    type = "server_error"
    text = "The image could not be drawn, twice. Nothing was charged. Please try again."

    def __init__(self, job: Generation) -> None:
        super().__init__(FAILED_BECAUSE.get(job.error_code, self.text))


# By `error_code`; any other is told as `GenerationFailed.text`.
FAILED_BECAUSE = {
    "storage_failed": (
        "The image was generated but could not be stored. Nothing was charged. Please try again."
    ),
    UNUSABLE_IMAGE: (
        "Generation failed after two attempts: the model's image was unusable (damaged, or of a "
        "single color). Nothing was charged. Please try again with another seed or prompt."
    ),
}


class GenerationCanceled(Refusal):
    status = 400
    code = "generation_canceled"
    headers = {"x-should-retry": "false"}
    text = "This generation was canceled. Nothing was charged."


class GenerationNotFound(Refusal):
    status = 404
    code = "generation_not_found"
    text = "There is no generation with this id in your organization."


class CallerLeft(Refusal):
    """Read by nobody, or by a client that closed its sending side alone. The status is nginx's for the same."""

    status = 499
    text = (
        "The connection was closed before the generation began. Nothing was charged. Keep your side of the "
        "connection open until the answer has arrived."
    )


class AlreadyAdmitted(Refusal):
    """A call with the same Idempotency-Key was faster. Its job answers this one too, unless it failed."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    headers = {"Retry-After": "1"}
    text = "Another call with the same Idempotency-Key has just failed. Please try again."


class IdempotencyKeyReused(Refusal):
    # Not 409: the SDKs would retry it.
    status = 400
    code = "idempotency_key_reused"
    text = (
        "This Idempotency-Key was used with another body within the last 24 hours. "
        "Use a new key for a new request."
    )


class ContentPolicyViolation(Refusal):
    status = 400
    code = "content_policy_violation"
    text = (
        "Your request was rejected as a result of the safety system. Nothing was charged. "
        "Describe the picture in other words."
    )


# What a caller is told about each other end that is not a picture.
REFUSAL_OF: dict[str, type[Refusal]] = {
    Generation.Status.CANCELED: GenerationCanceled,
    Generation.Status.EXPIRED: DeadlinePassed,
}


def refusal_of(job: Generation) -> Refusal | None:
    """Why a finished job has no picture; None for one that has, or that is not finished."""
    if job.status == Generation.Status.FAILED:
        return GenerationFailed(job)
    kind = REFUSAL_OF.get(job.status)
    return kind() if kind else None
