"""The second account of jobs and money, kept beside the database in plain Python."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

from billing.ledger.budgets import SpendLimitReached, TooManyInFlight
from billing.ledger.payers import NoSubscription, SubscriptionEnded
from images.jobs.generation_request import IdempotentCall


@dataclass
class Owner:
    """An organization, or a line of keys: what it may spend and have in work."""

    cap: int | None = None
    in_flight: int | None = None


@dataclass
class Key:
    """A key as its caller holds it."""

    pk: int
    secret: str
    organization: int
    line: int
    dead: bool = False


@dataclass
class Job:
    """What must be true of a generation and of its hold."""

    organization: int
    key: int | None
    line: int | None
    price: int
    month: date
    digest: str
    idempotency_key: str | None
    first_idempotency_key: str | None
    status: str = "queued"
    attempt: int = 0
    money: str = "pending"
    payer: str = "credit"
    lease_is_out: bool = False
    is_overdue: bool = False
    is_over: bool = False
    is_purgeable: bool = False
    is_purged: bool = False
    is_joined: bool = False
    is_lost: bool = False
    retry_count: int = 0

    def end(self, status: str) -> None:
        self.status = status
        self.money = "captured" if status == "succeeded" else "released"
        if status in {"failed", "expired"}:
            self.idempotency_key = None

    def share(self, call: IdempotentCall) -> None:
        """A retry without a key has this job from now on."""
        if call.key is None:
            self.is_joined, self.is_lost, self.retry_count = True, False, call.retry_count

    def lose_attempt(self) -> None:
        if self.attempt >= 2:
            self.end("failed")
        elif self.is_overdue:
            self.end("expired")
        else:
            self.status = "queued"

    def is_held_in(self, attempt: int) -> bool:
        return self.status == "running" and self.attempt == attempt


@dataclass
class Account:
    """All that must be true, as the verbs' own words promise it."""

    month: date
    granted: Counter[int] = field(default_factory=Counter)
    # What Stripe has confirmed for a size, where there is a subscription that serves.
    subscribed: dict[int, dict[str, int]] = field(default_factory=dict)
    organizations: dict[int, Owner] = field(default_factory=dict)
    lines: dict[int, Owner] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    # The highest cap that admitted anything of (organization, month); infinite without one.
    highest_cap: dict[tuple[int, date], float] = field(default_factory=dict)
    # Captures under (organization, Idempotency-Key) since that key was last free.
    captures: Counter[tuple[int, str]] = field(default_factory=Counter)

    def of(self, *, organization: int | None = None, line: int | None = None) -> list[Job]:
        return [
            job
            for job in self.jobs.values()
            if (organization is None or job.organization == organization)
            and (line is None or job.line == line)
        ]

    def named(self, organization: int, key: str | None) -> Job | None:
        if key is None:
            return None
        named = [job for job in self.of(organization=organization) if job.idempotency_key == key]
        return named[0] if named else None

    def offered(self, key: int, digest: str, retry_count: int) -> Job | None:
        """What a retry takes: of the highest count, then a lost one, an unfinished one, the newest."""
        found = [
            (job.retry_count, job.is_lost, job.status != "succeeded", place)
            for place, job in enumerate(self.jobs.values())
            if (job.key, job.digest, job.idempotency_key) == (key, digest, None)
            and job.status in {"queued", "running", "succeeded"}
            and not job.is_over
            and (job.retry_count < retry_count or (job.retry_count == retry_count and job.is_lost))
        ]
        return list(self.jobs.values())[max(found)[-1]] if found else None

    def limits(self, organization: int, line: int | None) -> list[tuple[Owner, list[Job]]]:
        limits = [(self.organizations[organization], self.of(organization=organization))]
        if line is not None:
            limits.append((self.lines[line], self.of(line=line)))
        return limits

    def on_credit(self, organization: int) -> list[Job]:
        return [job for job in self.of(organization=organization) if job.payer == "credit"]

    def offer(self, organization: int, size: str, price: int) -> tuple[str, int]:
        """Who would pay, and what: credit while it covers the price in force."""
        if spent(self.on_credit(organization)) + price <= self.granted[organization]:
            return "credit", price
        return "subscription", self.subscribed.get(organization, {}).get(size, price)

    def hindrances(
        self, organization: int, line: int | None, offer: tuple[str, int], month: date
    ) -> set[type[Exception]]:
        """Every good reason to refuse another image; none means that it must be admitted."""
        found: set[type[Exception]] = set()
        payer, price = offer
        if payer == "subscription" and organization not in self.subscribed:
            # Nothing else is looked at where nobody can pay.
            return {NoSubscription, SubscriptionEnded}
        for owner, jobs in self.limits(organization, line):
            if owner.cap is not None and spent(jobs, month) + price > owner.cap:
                found.add(SpendLimitReached)
            if owner.in_flight is not None and in_flight(jobs) >= owner.in_flight:
                found.add(TooManyInFlight)
        return found


def spent(jobs: list[Job], month: date | None = None, money: str = "pending captured") -> int:
    return sum(
        job.price for job in jobs if job.money in money.split() and month in {None, job.month}
    )


def in_flight(jobs: list[Job]) -> int:
    return sum(job.money == "pending" for job in jobs)
