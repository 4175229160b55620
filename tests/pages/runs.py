"""Runs of the playground, admitted as its page admits them."""

from images.catalog import FLUX_SCHNELL
from images.jobs import generation
from images.jobs.generation_request import GenerationRequest
from images.models import Generation
from tests.cast import Person


def played(person: Person) -> Generation:
    """A run of that person's that waits for a worker."""
    return generation.admit(
        GenerationRequest(
            organization=person.organization,
            user=person.user,
            request_id="req_test",
            model=FLUX_SCHNELL.id,
            prompt="a red fox",
            size="512x512",
            seed=1,
        )
    )
