"""Who would write waits for the writer before, and is told when that takes too long."""

import threading
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from tests.at_once import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL has many writers"),
]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second in place of twenty seconds, for this thread and those that it starts."""
    options: Any = connections.settings["default"]["OPTIONS"]
    monkeypatch.setitem(options, "timeout", 0.1)


def test_a_writer_waits_for_the_one_before() -> None:
    inside, order = threading.Event(), []

    def first() -> None:
        with transaction.atomic():
            inside.set()
            threading.Event().wait(0.1)
            order.append("first")

    def second() -> None:
        inside.wait()
        with transaction.atomic():
            order.append("second")

    assert at_once(first, second) == [None, None]
    assert order == ["first", "second"]


def test_a_writer_that_never_ends_is_not_waited_for_for_ever(patience: None) -> None:
    def other() -> None:
        with transaction.atomic():
            pass

    with transaction.atomic():
        [refused] = at_once(other)
    assert isinstance(refused, OperationalError)
    assert "locked" in str(refused)
    # The place is free again, for the next in the queue too.
    assert at_once(other, other) == [None, None]


def test_single_statements_go_on_waiting_as_sqlite_does() -> None:
    with transaction.atomic():
        pass
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        assert cursor.fetchone() == (20_000,)
