"""What holds when a request is sent: who has which key, and what was done before.

Each yields what stands in the request's <brackets>. Random values and times are set to fixed ones where
a row has them, so that answers show them as they are.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.test import override_settings

from accounts.models import ApiKey, Organization
from billing.models import Subscription
from images.catalog import FLUX_SCHNELL
from images.jobs import generation
from images.models import Generation, Image
from images.queue import signals
from inference.engines.blank import BlankEngine
from tests import calls
from tests.cast import Person, make_member, make_owner
from tests.images import make
from tests.images.api.test_usage_api import charged
from tests.working import working

Names = Mapping[str, str]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
TOKEN = "0" * 32
# Of that token and FAR_AHEAD under the secret key below: links that were given out must stay good.
SECRET_KEY = "the secret key of the recorded answers"
SIGNATURE = "pK5EXU5jp3CnaZXQehK2JH33sjC9B1bw9O8kpo02quM"
LINK = f"{TOKEN}.png?expires={int(FAR_AHEAD.timestamp())}&sig={SIGNATURE}"
BODY = calls.BODY | {"seed": 7}
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEU7o9La4tviohFv5a5OrsgyUTgMia
iSuhkeKsNkxt0+gr17fqgBCLIt8MUJqEZz9PWBIGwyubrU3CewQvmTemMA==
-----END PUBLIC KEY-----
"""


@dataclass(frozen=True)
class Situation:
    """`threads`: a worker or a poller must see what was written, so the test's transactions are real ones."""

    enter: Callable[[], AbstractContextManager[Names]]
    threads: bool


SITUATIONS: dict[str, Situation] = {}


def situation(
    name: str, *arguments: Any, threads: bool = False
) -> Callable[[Callable[..., Iterator[Names]]], Callable[..., Iterator[Names]]]:
    """Name what this generator makes of these arguments."""

    def register(make: Callable[..., Iterator[Names]]) -> Callable[..., Iterator[Names]]:
        SITUATIONS[name] = Situation(lambda: contextmanager(make)(*arguments), threads)
        return make

    return register


def alice(**terms: Any) -> Person:
    """An owner whose key shows fixed values; `terms` change the key."""
    person = make_owner("Alice")
    change(person.key, prefix="eco_Ab12", last_four="wxyz", created_at=LONG_AGO, **terms)
    return person


def change(thing: ApiKey | Organization, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(thing, name, value)
    thing.save()


def key_of(person: Person) -> dict[str, str]:
    return {"key": person.secret}


# --- keys -----------------------------------------------------------------------------------------


@situation("nobody")
def nobody() -> Iterator[Names]:
    yield {}


@situation("a key")
@situation("a revoked key", {"revoked_at": LONG_AGO})
@situation("a suspended key", {"suspended_at": LONG_AGO, "suspended_because": "found"})
@situation("an expired key", {"expires_at": LONG_AGO})
@situation("a key of another network", {"allowed_networks": ["10.0.0.0/8"]})
@situation("a key that may not draw", {"may_generate": False})
@situation("a key that may not read the usage", {"may_read_usage": False})
@situation("a spend limit of the key", {"monthly_cap_micros": 10_000})
@situation(
    "a key with limits",
    {
        "expires_at": FAR_AHEAD,
        "allowed_networks": ["203.0.113.0/24"],
        "requests_per_minute": 60,
        "images_per_minute": 30,
        "images_in_flight": 2,
        "monthly_cap_micros": 5_000_000,
    },
)
def a_key(terms: dict[str, Any] | None = None) -> Iterator[Names]:
    yield key_of(alice(**terms or {}))


@situation("limits lifted", {"limits_lifted": True})
@situation("two requests a minute", {"requests_per_minute": 2})
@situation("a spend limit", {"monthly_cap_micros": 10_000})
def an_organization(fields: dict[str, Any]) -> Iterator[Names]:
    person = alice()
    change(person.organization, **fields)
    yield key_of(person)


@situation("an address that failed too often")
def an_address_that_failed_too_often() -> Iterator[Names]:
    with override_settings(FAILED_AUTHENTICATIONS_PER_MINUTE=1):
        calls.call("GET", "/v1/models", REMOTE_ADDR="203.0.113.7")
        yield {}


@situation("no credit")
@situation("no credit and no cards", {"STRIPE_SECRET_KEY": ""})
def no_credit(changed: dict[str, Any] | None = None) -> Iterator[Names]:
    with override_settings(**changed or {}):
        yield key_of(make_owner("Pauper", credit_micros=0))


@situation("a canceled subscription", {"status": "canceled"})
@situation("an unpaid subscription", {"status": "unpaid"})
@situation("a paused subscription", {"status": "paused"})
@situation("a disputed payment", {"status": "active", "frozen_at": LONG_AGO})
def a_subscription(fields: dict[str, Any]) -> Iterator[Names]:
    person = make_owner("Pauper", credit_micros=0)
    ids = {"customer_id": "cus_1", "subscription_id": "sub_1"}
    Subscription.objects.create(organization=person.organization, **ids, **fields)
    yield key_of(person)


# --- limits ---------------------------------------------------------------------------------------


@situation("requests used up", "organization", {"requests_per_minute": 1})
@situation("requests of the key used up", "key", {"requests_per_minute": 1})
@situation(
    "images used up",
    "organization",
    {"images_per_minute": 1, "requests_per_minute": 2},
    threads=True,
)
def used_up(of: str, limit: dict[str, int]) -> Iterator[Names]:
    person = alice()
    change(getattr(person, of), **limit)
    if "images_per_minute" in limit:
        with working():
            assert calls.generate(person).status_code == 200
    else:
        assert calls.call("GET", "/v1/models", headers=person.headers).status_code == 200
    yield key_of(person)


@situation("as many in flight as may be", "organization")
@situation("as many in flight of the key as may be", "key")
def as_many_in_flight_as_may_be(of: str) -> Iterator[Names]:
    person = alice()
    change(getattr(person, of), images_in_flight=1, requests_per_minute=2)
    make.queued(person)
    yield key_of(person)


@situation("a long queue")
def a_long_queue() -> Iterator[Names]:
    person = alice()
    change(person.organization, requests_per_minute=2)
    # First, for what a look at the workers finds is kept for a second.
    signals.heartbeat(signals.LiveWorker("gpu-1", FLUX_SCHNELL.id, "idle", "blank", seconds=2.0))
    for _ in range(3):
        make.queued(person)
    yield key_of(person)


# --- calls and workers ----------------------------------------------------------------------------


@situation("no worker", threads=True)
def no_worker() -> Iterator[Names]:
    yield key_of(alice())


class FailingEngine(BlankEngine):
    def draw(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError


@situation("a worker", BlankEngine, threads=True)
@situation("a worker that fails", FailingEngine, threads=True)
def a_worker(engine: type[BlankEngine]) -> Iterator[Names]:
    person = alice()
    with working(engine()):
        yield key_of(person)


def remember(job: Generation, **fields: Any) -> None:
    """The job is that of a call with BODY; what stands on its row is what earlier releases wrote."""
    digest = hashlib.sha256(json.dumps(BODY, sort_keys=True).encode()).hexdigest()
    Generation.objects.filter(pk=job.pk).update(body_digest=digest, seed=7, **fields)


def with_its_id(person: Person, job: Generation) -> Names:
    return key_of(person) | {"generation": job.pk}


@situation("an earlier call is drawn", make.running, threads=True)
@situation("an earlier call succeeded", make.succeeded, threads=True)
@situation("an earlier call was canceled", make.queued, "canceled", threads=True)
def an_earlier_call(make: Callable[[Person], Generation], end: str = "") -> Iterator[Names]:
    person = alice()
    job = make(person)
    key = hashlib.sha256(b"k").hexdigest()
    remember(job, idempotency_key=key, created_at=LONG_AGO)
    if end:
        generation.give_up(job, Generation.Status(end), end)
    yield with_its_id(person, job)


@situation("the answer of an earlier call was lost", threads=True)
def the_answer_of_an_earlier_call_was_lost() -> Iterator[Names]:
    person = alice()
    job = make.succeeded(person)
    remember(job)
    yield with_its_id(person, job)


# --- generations and links ------------------------------------------------------------------------


@situation("a queued generation", make.queued)
@situation("a running generation", make.running)
@situation("a failed generation", make.queued, "failed")
@situation("a canceled generation", make.queued, "canceled")
@situation("an expired generation", make.queued, "expired")
def a_generation(make: Callable[[Person], Generation], end: str = "") -> Iterator[Names]:
    person = alice()
    job = make(person)
    Generation.objects.filter(pk=job.pk).update(created_at=LONG_AGO)
    if end:
        generation.give_up(job, Generation.Status(end), end)
    yield with_its_id(person, job)


@situation("a generation")
@situation("a generation by its link", {"response_format": "url"})
@situation("a generation past its day", {}, LONG_AGO)
def a_picture(
    fields: dict[str, str] | None = None, expires_at: datetime = FAR_AHEAD
) -> Iterator[Names]:
    person = alice()
    job = make.succeeded(person)
    Generation.objects.filter(pk=job.pk).update(created_at=LONG_AGO, **fields or {})
    Image.objects.filter(pk=job.pk).update(token=TOKEN, expires_at=expires_at)
    yield with_its_id(person, job)


@situation("the second of two generations")
def the_second_of_two_generations() -> Iterator[Names]:
    person = alice()
    signals.heartbeat(signals.LiveWorker("gpu-1", FLUX_SCHNELL.id, "idle", "blank", seconds=2.5))
    first, second = make.queued(person), make.queued(person)
    for job, seconds in ((first, 0), (second, 1)):
        moment = LONG_AGO + timedelta(seconds=seconds)
        Generation.objects.filter(pk=job.pk).update(created_at=moment)
    yield with_its_id(person, second)


@situation("another's generation")
def anothers_generation() -> Iterator[Names]:
    job = make.queued(make_owner("Charlie"))
    yield with_its_id(alice(), job)


@situation("a link to nothing")
@situation("a link to a lost file", "A" * 10)
def a_link_without_its_picture(lost: str = "") -> Iterator[Names]:
    if lost:
        job = make.succeeded(alice())
        Image.objects.filter(pk=job.pk).update(
            token=TOKEN, expires_at=FAR_AHEAD, storage_key=f"{lost}.png"
        )
    yield {}


# --- usage and webhooks ---------------------------------------------------------------------------


@situation("five images of March 2020")
def five_images_of_march_2020() -> Iterator[Names]:
    person = alice()
    bob = make_member("Bob", person.organization)
    change(bob.key, name="=Bob's", prefix="eco_Cd34", last_four="stuv", created_at=LONG_AGO)
    for at in ("2020-03-01T00:00", "2020-03-02T09:59:59", "2020-03-02T10:00"):
        charged(person, at)
    charged(person, "2020-03-02T10:30", size="1024x768")
    charged(bob, "2020-03-02T10:45")
    yield key_of(person)


@situation("reports of leaked keys are taken")
def reports_of_leaked_keys_are_taken() -> Iterator[Names]:
    keys = settings.VAR_DIR / "recorded-public-keys.json"
    rows = [{"key_identifier": "recorded", "key": PUBLIC_KEY}]
    keys.write_text(json.dumps({"public_keys": rows}))
    with override_settings(LEAK_REPORT_PUBLIC_KEYS=str(keys)):
        yield {}
