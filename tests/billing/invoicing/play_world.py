"""The world of the play: two clocks that move together, people, the ways from Stripe to us, and a story of it all."""

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from django.db import connection
from django.utils import timezone

from billing import tasks, webhook_events
from billing.gateway import client as gateway
from billing.gateway import webhooks
from billing.models import Hold, Subscription
from tests.cast import Person, make_owner
from tests.stripe_sandbox import StripeSandbox

NOWHERE = "http://127.0.0.1:9"
# The periodic tasks, in an order that a random one shuffles.
TASKS: dict[str, Callable[[], None]] = {
    "seal": tasks.seal,
    "send": tasks.send,
    "prove": tasks.prove,
    "inbox": tasks.read_inbox,
    "events": tasks.look_for_events,
    "keep": tasks.keep,
    "look": tasks.look_at_subscriptions,
    "settle": tasks.settle,
    "invoices": tasks.look_after_invoices,
    "refund": tasks.refund,
    "fees": tasks.book_fees,
    "alert": tasks.alert,
}


class Killed(BaseException):
    """A process ends between two of its steps; nothing catches it."""


@dataclass
class World:
    """What a move may touch. `dice` is the only source of chance, so a seed tells the same story again."""

    dice: random.Random
    sandbox: StripeSandbox
    settings: Any
    clock: Any
    patch: pytest.MonkeyPatch
    people: list[Person] = field(default_factory=list)
    in_flight: list[Hold] = field(default_factory=list)
    late_events: list[webhooks.Event] = field(default_factory=list)
    # Customer at Stripe → the organization's id, deleted ones too.
    customers: dict[str, int] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    # Rows of final invoices that were looked at.
    seen: set[int] = field(default_factory=set)
    # Whether things go wrong.
    rough: bool = True

    def tell(self, text: str) -> None:
        """One step of the story."""
        self.story.append(f"{timezone.now():%m-%d %H:%M:%S} {text}")

    def begin(self, organizations: int) -> None:
        """The people, before anybody has subscribed."""
        self.people = [make_owner(f"Player{n}", credit_micros=0) for n in range(organizations)]

    # --- time -----------------------------------------------------------------------------------

    def advance(self, by: timedelta) -> None:
        """Both clocks move on; what falls due at Stripe on the way has happened, and nothing here."""
        self.sandbox.advance(by.total_seconds())
        self.clock.shift(by)

    def live(self, by: timedelta, between: Callable[[], None] = lambda: None) -> None:
        """That time passes with all tasks at work, and with a look at each draft around the end of a period.

        `between` happens at each stop, as images that are bought.
        """
        end = timezone.now() + by
        while (now := timezone.now()) < end:
            ends = Subscription.objects.filter(period_end__gt=now, period_end__lt=end)
            stop = min([end, now + timedelta(days=12), *ends.values_list("period_end", flat=True)])
            between()
            self.advance(stop - now + timedelta(minutes=2))
            between()
            self.deliver()
            self.run_all()
            # A draft is settled after 50 minutes, later where a meter lags.
            for minutes in (50, 16, 20):
                self.advance(timedelta(minutes=minutes))
                self.deliver()
                for name in ("settle", "inbox", "invoices", "settle"):
                    self.run(name)

    # --- our tasks ------------------------------------------------------------------------------

    def run(self, name: str) -> None:
        """One task; while things go wrong it may end between two of its steps."""
        if not (self.rough and self.chance(12)):
            TASKS[name]()
            return
        try:
            with self._killed_after(self.dice.choice([3, 9, 20, 40, 80])):
                TASKS[name]()
        except Killed:
            self.tell(f"task {name} is killed")

    def run_all(self) -> None:
        """All of them, in an order that makes progress."""
        for name in TASKS:
            self.run(name)
        self.know_customers()

    @contextmanager
    def _killed_after(self, steps: int) -> Iterator[None]:
        left = [steps]

        def step() -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        def query(execute: Any, *words: Any) -> Any:
            step()
            return execute(*words)

        usual = gateway.LimitedRequests.request

        def request(*words: Any, **named: Any) -> Any:
            step()
            answer = usual(*words, **named)
            step()
            return answer

        with self.patch.context() as patch, connection.execute_wrapper(query):
            patch.setattr(gateway.LimitedRequests, "request", request)
            yield

    # --- from Stripe to us ----------------------------------------------------------------------

    def documents(self, kind: str) -> list[dict[str, Any]]:
        """All objects of that kind as Stripe keeps them, the oldest first; also of customers that are deleted."""
        with closing(self._state()) as state:
            wanted = "SELECT body FROM documents WHERE kind = ? ORDER BY number"
            rows = state.execute(wanted, [kind])
            return [json.loads(body) for (body,) in rows]

    def _state(self) -> sqlite3.Connection:
        return sqlite3.connect(self.sandbox.folder / "stripe-sandbox.sqlite3", timeout=20)

    def new_events(self) -> list[webhooks.Event]:
        """Events that Stripe wants to deliver, of the types that we ask for; they count as delivered by this."""
        with closing(self._state()) as state, state:
            rows = state.execute(
                "SELECT number, body FROM deliveries JOIN documents USING (number) "
                "WHERE delivered IS NULL ORDER BY number"
            ).fetchall()
            state.executemany(
                "UPDATE deliveries SET delivered = 1 WHERE number = ?",
                [(number,) for number, _ in rows],
            )
        bodies = [json.loads(body) for _, body in rows]
        return [_event(body) for body in bodies if body["type"] in webhook_events.HANDLERS]

    def deliver(self) -> None:
        """Events arrive; while things go wrong some are lost, late or doubled, in any order."""
        events = [*self.late_events, *self.new_events()]
        self.late_events = []
        if self.rough:
            self.dice.shuffle(events)
        for event in events:
            [fate] = self.dice.choices(["once", "twice", "late", "lost"], [70, 10, 12, 8])
            if not self.rough or fate in {"once", "twice"}:
                webhook_events.receive(event)
            if self.rough and fate == "twice":
                webhook_events.receive(event)
            elif self.rough and fate == "late":
                self.late_events.append(event)
            elif self.rough and fate == "lost":
                self.tell(f"{event.type} is lost")

    # --- people at Stripe -----------------------------------------------------------------------

    @property
    def stripe(self) -> Any:
        """The API as customers' pages and the dashboard use it; faults hit it too."""
        return self.sandbox.client(max_network_retries=0).v1

    def row(self, person: Person) -> Subscription | None:
        """Our row of that organization's subscription."""
        return Subscription.objects.filter(pk=person.organization.pk).first()

    def know_customers(self) -> None:
        """Keep whose each customer is, for when it is forgotten."""
        rows = Subscription.objects.exclude(customer_id=None)
        self.customers |= {str(key): pk for key, pk in rows.values_list("customer_id", "pk")}

    def at_stripe(self, kind: str, person: Person, *statuses: str) -> list[dict[str, Any]]:
        """Objects of that kind that belong to the person's present customer."""
        row = self.row(person)
        return [
            each
            for each in self.documents(kind)
            if row
            and row.customer_id
            and each["customer"] == row.customer_id
            and (not statuses or each["status"] in statuses)
        ]

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Whatever Stripe refuses people is no concern of ours."""
        try:
            yield
        except (stripe.StripeError, AssertionError) as error:
            self.tell(f"… refused: {str(error)[:100]}")

    def chance(self, percent: int) -> bool:
        """Whether something happens that does so often."""
        return self.dice.randrange(100) < percent


def _event(body: dict[str, Any]) -> webhooks.Event:
    """The event as our webhook's address reads it."""
    found: webhooks.Event = webhooks._event_of(body)
    return found


def moment(seconds: float) -> datetime:
    """A moment of Stripe's."""
    return datetime.fromtimestamp(seconds, UTC)
