"""Jobs in every state, made by the verbs that make them in production."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from billing.models import Credit, Hold
from images.catalog import FLUX_SCHNELL
from images.jobs import admission, generation, leases
from images.jobs.admission import Admitted
from images.jobs.generation_request import GenerationRequest
from images.models import Generation
from images.pictures import storage
from tests.cast import Person

PRICE = 10_000
PNG = b"\x89PNG\r\n\x1a\n"


def queued(person: Person, **fields: Any) -> Generation:
    """A job that waits for a worker; 512x512, so it costs `PRICE`."""
    asked: dict[str, Any] = {
        "model": FLUX_SCHNELL.id,
        "prompt": "a red fox",
        "size": "512x512",
        "seed": 1,
    }
    return generation.admit(
        GenerationRequest(
            organization=person.organization,
            api_key=person.key,
            request_id="req_test",
            **asked | fields,
        )
    )


def requested(**fields: Any) -> Admitted:
    """What answers a call with these fields: an earlier call's job or a new one."""
    request = GenerationRequest(**fields)
    return admission.share_earlier(request) or admission.admit(request)


def running(person: Person, worker: str = "gpu-1") -> Generation:
    """A job under a fresh lease."""
    queued(person)
    return claimed(worker)


def claimed(worker: str = "gpu-1") -> Generation:
    """The next job in line, claimed."""
    job = leases.claim(model=FLUX_SCHNELL, worker=worker)
    assert job
    return job


def stored(job: Generation) -> leases.Picture:
    """A picture of that attempt, already in the storage."""
    key = storage.key_of(job.id, job.attempt)
    storage.put(key, PNG)
    return leases.Picture(
        storage_key=key,
        sha256="0" * 64,
        byte_count=len(PNG),
        engine="blank",
        prompt_tokens=3,
        prompt_tokens_seen=3,
        drawn_at=timezone.now(),
    )


def succeeded(person: Person) -> Generation:
    """A delivered and charged job."""
    job = running(person)
    assert leases.deliver(job, stored(job))
    return now(job)


def lease_ran_out(job: Generation) -> None:
    """The worker that held the job has been silent for too long."""
    past = timezone.now() - timedelta(seconds=1)
    Generation.objects.filter(pk=job.pk).update(lease_until=past)


def deadline_passed(job: Generation, seconds_ago: float = 10) -> None:
    """The caller's deadline lies that far back."""
    past = timezone.now() - timedelta(seconds=seconds_ago)
    Generation.objects.filter(pk=job.pk).update(deadline_at=past)


def ended(job: Generation, ago: timedelta) -> None:
    """The job ended that long ago."""
    Generation.objects.filter(pk=job.pk).update(ended_at=timezone.now() - ago)


def now(job: Generation) -> Generation:
    """The row as the database has it."""
    return Generation.objects.select_related("hold").get(pk=job.pk)


def state(job: Generation) -> tuple[str, int, str]:
    """(status, attempt, state of its hold) as the database has them."""
    row = now(job)
    return row.status, row.attempt, row.hold.state


def books(person: Person) -> tuple[int, int]:
    """(pending, posted) of the person's credit, after a look that the holds add up to them."""
    credit = Credit.objects.get(organization=person.organization)
    sums = {"pending": 0, "captured": 0, "released": 0}
    for hold in Hold.objects.filter(organization=person.organization):
        sums[hold.state] += hold.amount_micros
    assert (sums["pending"], sums["captured"]) == (credit.pending_micros, credit.posted_micros)
    return credit.pending_micros, credit.posted_micros
