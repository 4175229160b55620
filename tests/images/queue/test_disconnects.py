"""A caller who hangs up is noticed, and costs nobody a thread, a place or a cent that was not earned."""

import socket
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from images.jobs import generation, leases
from images.jobs.refusals import CallerLeft
from images.models import Generation
from images.queue import disconnects
from images.queue.disconnects import ClientConnection
from tests.at_once import at_once
from tests.cast import Person
from tests.images import make
from tests.images.make import PRICE, books, state
from tests.working import working

PATIENCE_SECONDS = 5


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(our end, the caller's end) of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Line = tuple[socket.socket, socket.socket]


def test_a_silent_caller_is_there_and_one_who_closed_has_left(line: Line) -> None:
    ours, theirs = line
    client = ClientConnection(ours)
    assert not client.has_left
    theirs.close()
    assert client.has_left


def test_a_caller_who_sends_the_next_request_already_is_there(line: Line) -> None:
    ours, theirs = line
    theirs.send(b"GET /v1/models HTTP/1.1\r\n")
    assert not ClientConnection(ours).has_left
    # What was looked at is still to be read.
    assert ours.recv(3) == b"GET"


def test_a_connection_with_a_timeout_is_not_waited_for(line: Line) -> None:
    ours, _ = line
    ours.settimeout(30)
    assert not ClientConnection(ours).has_left


def test_a_caller_without_a_socket_is_always_there() -> None:
    client = ClientConnection.of({"gunicorn.socket": None})
    with client.watched(lambda: pytest.fail("nobody can have left")):
        assert not client.has_left


def test_leaving_is_told_at_once_and_once(line: Line) -> None:
    ours, theirs = line
    told = threading.Event()
    with ClientConnection(ours).watched(told.set):
        assert not told.wait(0.05)
        theirs.close()
        assert told.wait(PATIENCE_SECONDS)


def test_nobody_is_told_once_the_watch_is_over(line: Line) -> None:
    ours, theirs = line
    told = threading.Event()
    with ClientConnection(ours).watched(told.set):
        pass
    theirs.close()
    assert not told.wait(0.1)
    assert len(disconnects._watcher._selector.get_map()) == 0


def test_many_callers_are_watched_by_one_thread() -> None:
    lines = [socket.socketpair() for _ in range(50)]
    told = [threading.Event() for _ in lines]
    before = threading.active_count()

    def wait(number: int) -> bool:
        with ClientConnection(lines[number][0]).watched(told[number].set):
            lines[number][1].close()
            return told[number].wait(PATIENCE_SECONDS)

    assert at_once(*[partial(wait, number) for number in range(50)]) == [True] * 50
    assert threading.active_count() <= before + 1
    for ours, _ in lines:
        ours.close()


def leave_while_waiting(job: Generation, line: Line) -> None:
    """Wait for the job on that line, whose other end is closed in the meantime."""
    ours, theirs = line
    threading.Timer(0.05, theirs.close).start()
    with pytest.raises(CallerLeft):
        generation.wait_until_finished(job, client=ClientConnection(ours))


@pytest.mark.django_db(transaction=True)
def test_a_queued_job_is_canceled_free_of_charge(alice: Person, line: Line) -> None:
    job = make.queued(alice)
    leave_while_waiting(job, line)
    assert state(job) == ("canceled", 0, "released")
    assert make.now(job).error_code == "caller_left"
    assert books(alice) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_running_job_is_finished_charged_and_found_again(alice: Person, line: Line) -> None:
    job = make.running(alice)
    leave_while_waiting(job, line)
    assert state(job) == ("running", 1, "pending")
    assert leases.deliver(job, make.stored(job))
    assert books(alice) == (0, PRICE)
    found = generation.find(organization=alice.organization, generation_id=job.pk)
    assert found.image.is_alive


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("shared", [{"idempotency_key": "k"}, {"joined_at": "2026-01-01T00:00Z"}])
def test_a_queued_job_that_others_may_wait_for_goes_on(
    alice: Person, line: Line, shared: dict[str, str]
) -> None:
    job = make.queued(alice)
    Generation.objects.filter(pk=job.pk).update(**shared)
    leave_while_waiting(job, line)
    assert state(job) == ("queued", 0, "pending")


@pytest.mark.django_db(transaction=True)
def test_leaving_against_claiming_has_one_winner(alice: Person) -> None:
    for _ in range(5):
        job = make.queued(alice)
        left, claimed = at_once(partial(generation.cancel_abandoned, job), make.claimed)
        canceled = isinstance(claimed, AssertionError)
        assert left is canceled
        assert state(job)[0] == ("canceled" if canceled else "running")
        if not canceled:
            generation.give_up(job, Generation.Status.FAILED, "test")
    assert books(alice) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_caller_who_stays_gets_the_picture(alice: Person, line: Line) -> None:
    ours, _ = line
    with working():
        job = generation.wait_until_finished(make.queued(alice), client=ClientConnection(ours))
    assert job.status == "succeeded"
