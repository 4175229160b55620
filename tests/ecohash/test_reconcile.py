"""The books check themselves: right books pass, and each kind of damage is one line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from billing.ledger import budgets
from billing.models import Budget, Credit, Hold
from ecohash.reconcile import differences
from images.jobs import generation, leases
from images.models import Generation, Image
from tests.cast import Person
from tests.images import make
from tests.pages.runs import played

# The command asks for a snapshot, which PostgreSQL gives only to a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)
QUERIES = 36


def reconcile() -> tuple[int, list[str]]:
    """The command's exit status and the lines that it printed."""
    out = StringIO()
    try:
        call_command("reconcile", stdout=out)
    except SystemExit as leaving:
        return int(leaving.code or 0), out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


def test_new_books_are_right(db: None) -> None:
    assert reconcile() == (0, ["The books are right."])


def test_books_are_right_after_every_way_in_which_a_job_can_go(alice: Person) -> None:
    make.succeeded(alice)
    generation.expire(make.queued(alice))
    failed = make.running(alice)
    leases.hand_back(failed, "engine_failed")
    leases.hand_back(make.claimed(), "engine_failed")
    make.running(alice)
    make.queued(alice)
    assert reconcile()[0] == 0


def sql(statement: str) -> None:
    """Past our own code and past PostgreSQL's trigger, which would refuse."""
    trigger = "ALTER TABLE billing_ledgerentry {} TRIGGER USER"
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(trigger.format("DISABLE"))
        cursor.execute(statement)
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(trigger.format("ENABLE"))


def lose_a_release(job: Generation) -> None:
    Generation.objects.filter(pk=job.pk).update(
        status="failed", ended_at=timezone.now(), lease_until=None
    )


def orphan_a_hold(job: Generation) -> None:
    Generation.objects.filter(pk=job.pk).delete()


def leave_a_hold_pending_for_hours(job: Generation) -> None:
    Hold.objects.filter(pk=job.hold_id).update(created_at=timezone.now() - timedelta(hours=2))


PENDING: dict[str, tuple[Callable[[Generation], object], str]] = {
    "a job ended and kept its hold": (lose_a_release, "is still pending"),
    "a hold without a job": (orphan_a_hold, "is still pending"),
    "a hold older than any job": (leave_a_hold_pending_for_hours, "is still pending"),
}


def lose_the_picture(job: Generation) -> None:
    Image.objects.filter(pk=job.pk).delete()


def charge_what_failed(job: Generation) -> None:
    Image.objects.filter(pk=job.pk).delete()
    Generation.objects.filter(pk=job.pk).update(status="failed")


def lose_the_entry(job: Generation) -> None:
    sql("DELETE FROM billing_ledgerentry WHERE kind = 'capture'")


def falsify_the_entry(job: Generation) -> None:
    sql("UPDATE billing_ledgerentry SET amount_micros = 1 WHERE kind = 'capture'")


def lose_the_grant(job: Generation) -> None:
    sql("DELETE FROM billing_ledgerentry WHERE kind = 'grant'")


def add_to_posted(job: Generation) -> None:
    Credit.objects.update(posted_micros=F("posted_micros") + 5)


def add_to_pending(job: Generation) -> None:
    Credit.objects.update(pending_micros=F("pending_micros") + 5)


def add_to_granted(job: Generation) -> None:
    Credit.objects.update(granted_micros=F("granted_micros") + 5)


SUCCEEDED: dict[str, tuple[Callable[[Generation], object], str]] = {
    "a charge without a picture": (lose_the_picture, "was charged without a picture"),
    "a charge for a failure": (charge_what_failed, "was charged without a picture"),
    "a capture that was not booked": (lose_the_entry, "the ledger has no entry"),
    "an entry of another amount": (falsify_the_entry, "the ledger has no entry of its amount"),
    "a grant that was not booked": (lose_the_grant, "the ledger's grants add up to 0"),
    "a wrong sum of charges": (add_to_posted, "posted is"),
    "a wrong sum of holds": (add_to_pending, "pending is"),
    "credit from nowhere": (add_to_granted, "granted is"),
}


@pytest.mark.parametrize("damage", PENDING)
def test_damage_to_a_job_under_way_is_one_line(alice: Person, damage: str) -> None:
    do, line = PENDING[damage]
    do(make.running(alice))
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert line in lines[0]


@pytest.mark.parametrize("damage", SUCCEEDED)
def test_damage_to_what_was_delivered_is_one_line(alice: Person, damage: str) -> None:
    do, line = SUCCEEDED[damage]
    do(make.succeeded(alice))
    status, lines = reconcile()
    # A ledger that was changed differs from its sums by hour as well.
    lines = [each for each in lines if "the sum of the hour" not in each]
    assert (status, len(lines)) == (1, 1)
    assert line in lines[0]


def test_a_picture_that_nobody_paid_for_is_found(alice: Person) -> None:
    job = make.succeeded(alice)
    Hold.objects.filter(pk=job.hold_id).update(state="released")
    status, lines = reconcile()
    assert status == 1
    assert any("has a picture and was not charged" in line for line in lines)


def test_a_job_whose_money_went_early_is_found(alice: Person) -> None:
    job = make.running(alice)
    Hold.objects.filter(pk=job.hold_id).update(state="released", ended_at=timezone.now())
    status, lines = reconcile()
    assert status == 1
    assert any("its hold is not pending" in line for line in lines)


def test_a_charge_to_another_organization_is_found(alice: Person, charlie: Person) -> None:
    make.succeeded(alice)
    other = charlie.organization.pk
    sql(f"UPDATE billing_ledgerentry SET organization_id = {other} WHERE kind = 'capture'")  # noqa: S608
    status, lines = reconcile()
    assert status == 1
    assert any("charges another organization" in line for line in lines)


@contextmanager
def without(model: Any, name: str) -> Iterator[None]:
    """The constraint of that name is suspended; what broke it must be put right inside."""
    meta = model._meta
    everything = meta.constraints
    [constraint] = [row for row in everything if row.name == name]
    # SQLite builds the table anew, from what the model says.
    meta.constraints = [row for row in everything if row.name != name]
    try:
        with connection.schema_editor() as editor:
            editor.remove_constraint(model, constraint)
        yield
    finally:
        meta.constraints = everything
        with connection.schema_editor() as editor:
            editor.add_constraint(model, constraint)


def of_organization(person: Person) -> Any:
    return Budget.objects.of_organization(person.organization)


def of_key(person: Person) -> Any:
    return Budget.objects.of_key(person.key)


@pytest.mark.parametrize("column", ["pending_micros", "posted_micros", "in_flight"])
@pytest.mark.parametrize(
    ("rows", "whose"),
    [(of_organization, "organization {0.organization.pk}'s"), (of_key, "key {0.key.pk}'s")],
)
def test_a_wrong_sum_of_a_budget_is_one_line(
    alice: Person, column: str, rows: Callable[[Person], Any], whose: str
) -> None:
    make.succeeded(alice)
    make.running(alice)
    rows(alice).update(**{column: F(column) + 5})
    line = f"I3 {whose.format(alice)} budget: {column.removesuffix('_micros')} is "
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(line)
    rows(alice).update(**{column: F(column) - 5})
    assert reconcile()[0] == 0


def test_budgets_of_all_tenants_keys_and_the_playground_are_right(
    alice: Person, bob: Person, charlie: Person
) -> None:
    for person in (alice, bob, charlie):
        make.succeeded(person)
        generation.expire(make.queued(person))
        make.running(person)
    played(alice)
    assert Budget.objects.count() == 5
    assert reconcile() == (0, ["The books are right."])


def test_a_new_month_leaves_the_books_right(alice: Person) -> None:
    last_month = (budgets.this_month() - timedelta(days=1)).replace(day=1)
    old = make.running(alice)
    make.succeeded(alice)
    Budget.objects.update(month=last_month)
    Hold.objects.update(month=last_month)
    make.running(alice)
    assert reconcile()[0] == 0
    assert leases.deliver(old, make.stored(old))
    assert reconcile()[0] == 0
    Hold.objects.filter(pk=old.hold_id).update(month=budgets.this_month())
    assert reconcile()[0] == 1


def test_books_from_before_there_were_budgets_are_right_after_the_next_image(
    alice: Person,
) -> None:
    make.succeeded(alice)
    job = make.running(alice)
    Hold.objects.update(key_budget=None)
    Budget.objects.all().delete()
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert "has pending holds and no budget" in lines[0]
    make.queued(alice)
    assert reconcile()[0] == 0
    assert leases.deliver(job, make.stored(job))
    assert reconcile()[0] == 0


def test_a_hold_above_its_cap_is_found(alice: Person) -> None:
    """Its own amount would fit; together with what was reserved before it does not."""
    make.running(alice)
    job = make.running(alice)
    hold = Hold.objects.filter(pk=job.hold_id)
    with without(Hold, "hold_fits_its_cap"):
        cap = job.hold.cap_micros
        hold.update(cap_micros=make.PRICE + 1)
        status, lines = reconcile()
        assert (status, len(lines)) == (1, 1)
        assert f"hold {job.hold_id} reserved {2 * make.PRICE}, above its cap of" in lines[0]
        hold.update(cap_micros=cap)
        assert reconcile()[0] == 0


def test_an_overdrawn_credit_is_found(alice: Person) -> None:
    make.succeeded(alice)
    sql("UPDATE billing_ledgerentry SET amount_micros = 1 WHERE kind = 'grant'")
    with without(Credit, "credit_never_overdrawn"):
        Credit.objects.update(granted_micros=1)
        status, lines = reconcile()
        assert (status, len(lines)) == (1, 1)
        assert "has spent more than it was granted" in lines[0]
        Credit.objects.update(granted_micros=500_000)


def test_two_jobs_of_one_idempotency_key_are_found(alice: Person, charlie: Person) -> None:
    first, second, of_charlie = make.succeeded(alice), make.running(alice), make.queued(charlie)
    rows = Generation.objects.filter(pk__in=[first.pk, second.pk, of_charlie.pk])
    with without(Generation, "generation_idempotency_key_once"):
        rows.update(idempotency_key="order 66")
        status, lines = reconcile()
        assert (status, len(lines)) == (1, 1)
        assert f"I7 organization {alice.organization.pk}: 2 jobs share" in lines[0]
        assert "order 66" not in lines[0]
        generation.give_up(second, Generation.Status.FAILED, "test")
        assert reconcile()[0] == 0
        Generation.objects.update(idempotency_key=None)


def test_each_check_is_a_fixed_number_of_queries(
    alice: Person, bob: Person, charlie: Person, django_assert_max_num_queries
) -> None:
    for person in (alice, bob, charlie):
        make.succeeded(person)
        make.queued(person)
    with django_assert_max_num_queries(QUERIES):
        list(differences())
