"""What pages say about a generation that brought no picture, and what the reader can do about it."""

from dataclasses import dataclass

from images.jobs.refusals import UNUSABLE_IMAGE, refusal_of
from images.models import Generation

WHAT_TO_DO = {
    Generation.Status.FAILED: (
        "The job was tried on two workers. Run it again; if it fails again, send us the request id."
    ),
    Generation.Status.CANCELED: "Run it again whenever you like.",
    Generation.Status.EXPIRED: (
        "No worker could generate it in time. Run it again; a later moment may find a shorter queue."
    ),
}

WHAT_TO_DO_ABOUT_UNUSABLE = (
    "We check every image before we store or charge it. Run it again with another seed; if it fails "
    "again, send us the request id."
)


@dataclass(frozen=True)
class Explanation:
    """`reason` is the sentence the API answered with; `code` the exact cause in our records."""

    reason: str
    what_to_do: str
    code: str


def explain(generation: Generation) -> Explanation | None:
    """Why there is no picture; None for a generation that has one, or may still get one."""
    refusal = refusal_of(generation)
    if refusal is None:
        return None
    what_to_do = WHAT_TO_DO[Generation.Status(generation.status)]
    if generation.status == Generation.Status.FAILED and generation.error_code == UNUSABLE_IMAGE:
        what_to_do = WHAT_TO_DO_ABOUT_UNUSABLE
    return Explanation(
        reason=str(refusal),
        what_to_do=what_to_do,
        code=generation.error_code,
    )
