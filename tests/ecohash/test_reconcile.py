"""The books check themselves: right books pass, and each kind of damage is one line."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from billing.models import Credit, Hold
from images import generation, leases
from images.models import Generation, Image
from tests.cast import Person
from tests.images import jobs


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
    jobs.succeeded(alice)
    generation.expire(jobs.queued(alice))
    failed = jobs.running(alice)
    leases.hand_back(failed, "engine_failed")
    leases.hand_back(jobs.claimed(), "engine_failed")
    jobs.running(alice)
    jobs.queued(alice)
    assert reconcile()[0] == 0


def sql(statement: str) -> None:
    """Past our own code, which would refuse."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE billing_ledgerentry DISABLE TRIGGER USER")
        cursor.execute(statement)


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
    do(jobs.running(alice))
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert line in lines[0]


@pytest.mark.parametrize("damage", SUCCEEDED)
def test_damage_to_what_was_delivered_is_one_line(alice: Person, damage: str) -> None:
    do, line = SUCCEEDED[damage]
    do(jobs.succeeded(alice))
    status, lines = reconcile()
    assert (status, len(lines)) == (1, 1)
    assert line in lines[0]


def test_a_picture_that_nobody_paid_for_is_found(alice: Person) -> None:
    job = jobs.succeeded(alice)
    Hold.objects.filter(pk=job.hold_id).update(state="released")
    status, lines = reconcile()
    assert status == 1
    assert any("has a picture and was not charged" in line for line in lines)


def test_a_job_whose_money_went_early_is_found(alice: Person) -> None:
    job = jobs.running(alice)
    Hold.objects.filter(pk=job.hold_id).update(state="released", ended_at=timezone.now())
    status, lines = reconcile()
    assert status == 1
    assert any("its hold is not pending" in line for line in lines)


def test_a_charge_to_another_organisation_is_found(alice: Person, charlie: Person) -> None:
    jobs.succeeded(alice)
    other = charlie.organization.pk
    sql(f"UPDATE billing_ledgerentry SET organization_id = {other} WHERE kind = 'capture'")  # noqa: S608
    status, lines = reconcile()
    assert status == 1
    assert any("charges another organization" in line for line in lines)
