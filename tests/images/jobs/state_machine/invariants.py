"""What must be true after every step, by the second account and by the books themselves."""

from collections import Counter
from typing import Any

from django.db import connection
from hypothesis.stateful import invariant

from billing.models import Budget, Credit, Hold, LedgerEntry, UsageBatch
from ecohash import reconcile
from images.models import Generation, Image
from images.pictures import storage
from tests.images.jobs.state_machine.base import FINAL, BaseMachine
from tests.images.jobs.state_machine.model import in_flight, spent

PAID_FROM = {"credit": "customer_credit", "subscription": "receivable"}
# The invariants below compare the same sums after every step, with an account that is not the books'.
CHANGES_UNTIL_ASKED = 4
TABLES = (Generation, Hold, Credit, Budget, LedgerEntry, Image, UsageBatch)


def table_of(model: Any) -> list[Any]:
    """All of it, as it is."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {model._meta.db_table}")  # noqa: S608 - a name of ours
        return cursor.fetchall()


class Invariants(BaseMachine):
    """The invariants I1 to I8 that rows can show."""

    @invariant()
    def the_books_check_themselves(self) -> None:
        """Asked after some changes and at the end of a play: the answer takes longer than most steps."""
        rows = [table_of(model) for model in TABLES]
        if rows != self.rows:
            self.rows = rows
            self.changes += 1
            if self.changes % CHANGES_UNTIL_ASKED == 0:
                assert list(reconcile.differences()) == []

    def teardown(self) -> None:
        try:
            assert list(reconcile.differences()) == []
        finally:
            super().teardown()

    @invariant()
    def every_job_is_where_it_must_be(self) -> None:
        """I1, I2, I7, I8: its state, its money, its picture, and the key that names it."""
        found = Generation.objects.values_list(
            "pk", "status", "attempt", "idempotency_key", "hold__state", "image__pk"
        )
        expected = {
            (
                pk,
                job.status,
                job.attempt,
                job.idempotency_key,
                job.money,
                pk if job.status == "succeeded" else None,
            )
            for pk, job in self.true.jobs.items()
        }
        assert set(found) == expected
        assert Hold.objects.count() == len(expected)
        assert max(self.true.captures.values(), default=0) <= 1
        for pk, status, attempt, _key, money, image in found:
            if status in FINAL:
                final = (status, attempt, money, image)
                assert self.finals.setdefault(pk, final) == final
            if status == "succeeded" and not self.true.jobs[pk].is_purged:
                assert storage.pictures().exists(storage.key_of(pk, attempt))

    @invariant()
    def every_sum_is_what_its_jobs_add_up_to(self) -> None:
        """I3, of credits and of budgets; no budget of a month holds more than a cap allowed in it."""
        for credit in Credit.objects.all():
            jobs = self.true.on_credit(credit.organization_id)
            assert credit.granted_micros == self.true.granted[credit.organization_id]
            assert credit.pending_micros == spent(jobs, money="pending")
            assert credit.posted_micros == spent(jobs, money="captured")
            assert credit.pending_micros + credit.posted_micros <= credit.granted_micros
        rows = {(row.organization_id, row.api_key_id): row for row in Budget.objects.all()}
        for (organization, line), row in rows.items():
            jobs = self.true.of(organization=organization, line=line)
            assert row.in_flight == in_flight(jobs)
            assert row.pending_micros == spent(jobs, row.month, "pending")
            assert row.posted_micros == spent(jobs, row.month, "captured")
        for organization, month in {(job.organization, job.month) for job in self.true.of()}:
            captured = spent(self.true.of(organization=organization), month, "captured")
            assert captured <= self.true.highest_cap[organization, month]

    @invariant()
    def the_ledger_only_grows(self) -> None:
        """I4 and I5: each capture is booked once, and its payer is named."""
        rows = list(LedgerEntry.objects.order_by("pk").values_list())
        assert rows[: len(self.ledger)] == self.ledger
        self.ledger = rows
        booked = LedgerEntry.objects.filter(kind="capture").values_list(
            "hold__generation", "amount_micros", "organization", "hold__payer", "debit"
        )
        captured = [
            (pk, job.price, job.organization, job.payer, PAID_FROM[job.payer])
            for pk, job in self.true.jobs.items()
            if job.money == "captured"
        ]
        assert Counter(booked) == Counter(captured)

    @invariant()
    def a_sealed_batch_never_changes(self) -> None:
        """I5: nor does an image leave its batch."""
        holds = Hold.objects.filter(usage_batch__isnull=False)
        now = dict(holds.values_list("pk", "usage_batch"))
        assert self.reported.items() <= now.items()
        self.reported = now
        batches = dict(UsageBatch.objects.values_list("pk", "quantity"))
        assert self.batches.items() <= batches.items()
        self.batches = batches
        assert Counter(now.values()) == Counter(batches)
