"""A loop over customers: one refusal, mistake or silence ends nothing for the others."""

from collections.abc import Callable

import pytest

from billing.gateway.errors import StripeAway, StripeKeyRefused, StripeRefused
from billing.isolation import AWAY_IN_A_ROW, for_each
from billing.models import Notice

pytestmark = pytest.mark.django_db


def run(action: Callable[[int], int], rows: int = 20, seconds: float = 60) -> list[int]:
    done = for_each(
        range(rows), action, what="It failed", organization_of=lambda row: row, seconds=seconds
    )
    return sorted(done)


def failing(error: Exception, *for_rows: int) -> Callable[[int], int]:
    def action(row: int) -> int:
        if row in for_rows:
            raise error
        return row

    return action


@pytest.mark.parametrize("error", [StripeRefused("No.", status=400), ZeroDivisionError()])
def test_what_fails_for_some_is_done_for_all_others_and_told_once_a_day(error: Exception) -> None:
    for _ in range(2):
        assert run(failing(error, 3, 7)) == [row for row in range(20) if row not in {3, 7}]
    notes = Notice.objects.filter(kind="not_done", organization=None)
    assert {note.facts["organization_name"] for note in notes} == {
        "organization 3",
        "organization 7",
    }
    assert len(notes) == 2


def test_two_who_time_out_hold_up_nobody_and_are_not_told_at_once() -> None:
    assert len(run(failing(StripeAway("No answer."), 0, 1))) == 18
    assert not Notice.objects.exists()


def test_where_nobody_is_answered_it_stops_soon() -> None:
    asked: list[int] = []

    def away(row: int) -> int:
        asked.append(row)
        raise StripeAway("No answer.")

    assert run(away) == []
    assert len(asked) == AWAY_IN_A_ROW


def test_a_refused_key_stops_it_at_once() -> None:
    asked: list[int] = []

    def refuse(row: int) -> int:
        asked.append(row)
        raise StripeKeyRefused("Unknown key.")

    assert run(refuse) == []
    assert len(asked) == 1


def test_each_run_begins_elsewhere() -> None:
    first: set[int] = set()

    def note_first(row: int) -> int:
        first.add(row)
        raise StripeKeyRefused("Stop here.")

    for _ in range(40):
        run(note_first)
    assert len(first) > 3


def test_no_row_is_begun_after_the_time_is_over() -> None:
    assert run(lambda row: row, seconds=-1) == []
