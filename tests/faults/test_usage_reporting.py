"""Ten thousand images, senders that are killed, and a Stripe that fails in every way: each is counted once."""

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone

from billing.ledger import budgets
from billing.models import Subscription, UsageAttempt, UsageBatch
from billing.reporting import batching, sending
from ecohash import reconcile
from tests import servers
from tests.at_once import at_once
from tests.cast import Person
from tests.payment import at_stripe, buy, make_subscriber, report
from tests.stripe_sandbox import StripeSandbox

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

IMAGES = 10_000
KILLS = 10
SENDERS = 2
EVENTS = "/v1/billing/meter_events$"
FAULTS = ("500", "500_unstored", "429", "409", "drop_before", "accept_then_drop")
SIZES = ("512x512", "768x768", "1024x768", "768x1024", "1024x1024")


def database_address() -> str:
    """The test's database, for another process."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    where = f"{database['USER']}@{database['HOST']}:{database['PORT']}"
    return f"postgres://{where}/{database['NAME']}"


@contextmanager
def senders(sandbox: StripeSandbox) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes that seal and send; all are dead at the end."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "ecohash.settings",
        "DATABASE_URL": database_address(),
        "VAR_DIR": str(django_settings.VAR_DIR),
        "STRIPE_API_BASE": sandbox.base_url,
        "STRIPE_SECRET_KEY": sandbox.key,
        "STRIPE_WEBHOOK_SECRET": sandbox.webhook_secret,
    }
    words = [sys.executable, "-m", "tests.sender_process"]
    running = [subprocess.Popen(words, cwd=servers.ROOT, env=environment) for _ in range(SENDERS)]
    try:
        yield running
        assert [process.poll() for process in running] == [None] * SENDERS, "a sender broke"
    finally:
        for process in running:
            process.kill()
            process.wait()
        # They are dead, so nobody needs to wait for their leases to run out.
        UsageBatch.objects.filter(state="sending").update(
            claimed_until=timezone.now() - timedelta(seconds=1)
        )


def waits_are_over() -> None:
    """As if the minutes between two attempts had passed."""
    UsageBatch.objects.filter(state="sealed").update(not_before=timezone.now())


def test_ten_thousand_images_are_counted_once_each(stripe_here: StripeSandbox) -> None:
    people = [make_subscriber(name, stripe_here) for name in ("Una", "Vic")]
    for person in people:
        budgets.set_cap(organization=person.organization, cap_micros=None)
    Subscription.objects.update(unpaid_limit_micros=1_000_000_000)
    for seed, kind in enumerate(FAULTS):
        stripe_here.fault(kind, path=EVENTS, method="POST", probability=0.12, seed=seed)
    chance = random.Random(7)
    bought: dict[str, Counter[str]] = {person.user.email: Counter() for person in people}
    for _ in range(KILLS):
        with senders(stripe_here):
            for _ in range(IMAGES // KILLS):
                person, size = chance.choice(people), chance.choice(SIZES)
                buy(person, size)
                bought[person.user.email][size] += 1
            waits_are_over()
    fired = {fault["kind"]: fault["fired"] for fault in stripe_here.faults()}
    assert all(fired.values()), fired
    finish(people)
    for person in people:
        assert at_stripe(stripe_here, person) == dict(bought[person.user.email])
    assert sum(counts.total() for counts in bought.values()) == IMAGES
    assert sum(UsageBatch.objects.values_list("quantity", flat=True)) == IMAGES
    assert set(UsageBatch.objects.values_list("state", flat=True)) == {"accepted"}
    # The kills did hit calls in the air, else this test would show nothing.
    assert UsageAttempt.objects.filter(outcome="").exists()
    assert reconcile.differences_in_snapshot() == []


def finish(people: list[Person]) -> None:
    """Until everything is sent, while Stripe still fails."""
    for _ in range(200):
        waits_are_over()
        report()
        if not UsageBatch.objects.unsent().exists():
            return
    pytest.fail(f"unsent for {len(people)} customers: {UsageBatch.objects.unsent().count()}")


def test_many_senders_never_send_one_batch_at_once(stripe_here: StripeSandbox) -> None:
    person = make_subscriber("Wim", stripe_here)
    stripe_here.fault("slow", path=EVENTS, method="POST", seconds=0.3)
    buy(person, images=3)
    batching.seal()
    at_once(*[lambda: sending.send_due(1.0)] * 8)
    assert stripe_here.usage()["overlaps"] == 0
    assert UsageAttempt.objects.count() == 1
