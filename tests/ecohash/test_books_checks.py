"""The daily check: its queue, its record, the mail to staff, and the alarm when none has finished."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db.models import F
from django.utils import timezone

from billing.models import BooksCheck, ClosedMonth, Credit, Hold, Notice
from ecohash import tasks
from ecohash.celery import app
from ecohash.up import programs
from images.queue import signals
from tests.cast import Person
from tests.ecohash.past_months import month_ago, move_all_books
from tests.images import make

# A snapshot is a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)


def ago(**span: float) -> Any:
    return timezone.now() - timedelta(**span)


def test_a_check_leaves_a_row_and_a_line(alice: Person, caplog: pytest.LogCaptureFixture) -> None:
    make.succeeded(alice)
    with caplog.at_level("INFO"):
        tasks.check_books()
    row = BooksCheck.objects.get()
    assert row.ended_at
    assert (row.holds, row.entries, row.differences) == (1, 2, 0)
    [line] = [record for record in caplog.records if record.message == "books checked"]
    assert (line.__dict__["holds"], line.__dict__["differences"]) == (1, 0)
    assert not Notice.objects.filter(kind="books_differ").exists()


def test_staff_are_told_how_much_differs(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.tasks.LINES_TOLD", 1)
    Credit.objects.update(
        posted_micros=F("posted_micros") + 5, pending_micros=F("pending_micros") + 5
    )
    tasks.check_books()
    notice = Notice.objects.get(kind="books_differ")
    assert (notice.facts["count"], len(notice.facts["lines"])) == (2, 1)
    assert BooksCheck.objects.get().differences == 2


def test_a_check_is_made_once_a_day_and_once_at_a_time() -> None:
    tasks.check_books()
    tasks.check_books()
    assert BooksCheck.objects.count() == 1
    BooksCheck.objects.update(ended_at=None)
    tasks.check_books()
    assert BooksCheck.objects.count() == 1


def test_a_check_that_died_is_made_up_for() -> None:
    BooksCheck.objects.create(started_at=ago(minutes=61))
    tasks.check_books()
    assert BooksCheck.objects.filter(ended_at__isnull=False).count() == 1


def test_a_check_of_yesterday_is_not_one_of_today() -> None:
    BooksCheck.objects.create(started_at=ago(hours=24, minutes=1), ended_at=ago(hours=24))
    tasks.check_books()
    assert BooksCheck.objects.count() == 2


def test_the_check_has_a_queue_that_a_program_listens_to() -> None:
    assert app.amqp.router.route({}, "ecohash.books.check")["queue"].name == "books"
    assert app.amqp.router.route({}, "ecohash.watch_books")["queue"].name == "default"
    commands = [program.command for program in programs.programs()]
    listened = {
        queue
        for words in commands
        if "--queues" in words
        for queue in words[words.index("--queues") + 1].split(",")
    }
    routed = {route["queue"] for route in django_settings.CELERY_TASK_ROUTES.values()}
    assert {"books", "default", *routed} <= listened


def test_the_message_of_an_earlier_release_is_handed_on() -> None:
    signals.client().delete("books")
    app.tasks["ecohash.reconcile"]()
    assert signals.client().llen("books") == 1
    signals.client().delete("books")
    assert not BooksCheck.objects.exists()


@pytest.mark.parametrize(
    ("hold_hours", "check_hours", "told"),
    [(None, None, 0), (25, None, 0), (27, None, 1), (100, 25, 0), (100, 27, 1)],
)
def test_staff_are_told_once_when_no_check_has_finished(
    alice: Person, hold_hours: int | None, check_hours: int | None, told: int
) -> None:
    if hold_hours:
        make.succeeded(alice)
        Hold.objects.update(created_at=ago(hours=hold_hours))
    if check_hours:
        BooksCheck.objects.create(started_at=ago(hours=30), ended_at=ago(hours=check_hours))
    # One that began and never ended is none.
    BooksCheck.objects.create(started_at=ago(hours=1))
    for _ in range(2):
        tasks.watch_books()
    assert Notice.objects.filter(kind="books_unchecked", organization=None).count() == told


def test_the_daily_check_closes_months(alice: Person, settings: Any) -> None:
    settings.CLOSE_MONTHS_AFTER_DAYS = 0
    make.succeeded(alice)
    move_all_books(month_ago())
    tasks.check_books()
    assert ClosedMonth.objects.get().month == month_ago()
