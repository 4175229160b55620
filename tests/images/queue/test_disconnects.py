"""A caller who hangs up is noticed, and costs nobody a thread, a place or a cent that was not earned."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from images.jobs import generation, idempotency, leases
from images.jobs.refusals import CallerLeft
from images.models import Generation
from images.queue import disconnects
from images.queue.disconnects import ClientConnection
from tests.at_once import at_once
from tests.calls import BODY, GENERATIONS, call
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


def test_a_silent_caller_is_there_and_one_who_closed_sends_no_more(line: Line) -> None:
    ours, theirs = line
    client = ClientConnection(ours)
    assert not client.sends_no_more
    theirs.close()
    assert client.sends_no_more


def test_a_caller_who_sends_the_next_request_already_is_there(line: Line) -> None:
    ours, theirs = line
    theirs.send(b"GET /v1/models HTTP/1.1\r\n")
    assert not ClientConnection(ours).sends_no_more
    # What was looked at is still to be read.
    assert ours.recv(3) == b"GET"


def test_a_connection_with_a_timeout_is_not_waited_for(line: Line) -> None:
    ours, _ = line
    ours.settimeout(30)
    assert not ClientConnection(ours).sends_no_more


def test_a_caller_without_a_socket_is_always_there() -> None:
    client = ClientConnection.of({"gunicorn.socket": None})
    with client.watched(lambda: pytest.fail("nobody can have left")):
        assert not client.sends_no_more


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


@pytest.fixture
def tcp_line() -> Iterator[Line]:
    """The same over TCP, where a close of one side is not told from a close of both."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def reset(theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


def stop_sending(theirs: socket.socket) -> None:
    theirs.shutdown(socket.SHUT_WR)


def test_who_closed_the_sending_side_alone_is_not_gone(line: Line, tcp_line: Line) -> None:
    for ours, theirs in (line, tcp_line):
        stop_sending(theirs)
        client = ClientConnection(ours)
        assert (client.sends_no_more, client.is_gone) == (True, False)
        ours.send(b"answer")
        assert theirs.recv(6) == b"answer"


def test_a_reset_is_seen_however_often_it_is_looked_at(tcp_line: Line) -> None:
    ours, theirs = tcp_line
    told = threading.Event()
    # The watcher's thread looks first, and reads the socket's error.
    with ClientConnection(ours).watched(told.set):
        reset(theirs)
        assert told.wait(PATIENCE_SECONDS)
    for client in (ClientConnection(ours), ClientConnection(ours)):
        assert client.is_gone
        assert client.sends_no_more


def closed_while_waiting(
    job: Generation, line: Line, close: Callable[[socket.socket], None] = reset
) -> None:
    """Wait for the job on that line, whose other end is closed in the meantime."""
    ours, theirs = line
    threading.Timer(0.05, close, [theirs]).start()
    with pytest.raises(CallerLeft):
        generation.wait_until_finished(
            job,
            client=ClientConnection(ours),
            on_leave=partial(idempotency.note_lost_answer, job),
        )


CLOSES = pytest.mark.parametrize("close", [reset, stop_sending, socket.socket.close])


@pytest.mark.django_db(transaction=True)
@CLOSES
def test_a_queued_job_is_canceled_free_of_charge(
    alice: Person, tcp_line: Line, close: Callable[[socket.socket], None]
) -> None:
    job = make.queued(alice)
    closed_while_waiting(job, tcp_line, close)
    assert state(job) == ("canceled", 0, "released")
    assert make.now(job).error_code == "caller_left"
    assert books(alice) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_a_running_job_is_finished_charged_and_found_again(alice: Person, tcp_line: Line) -> None:
    job = make.running(alice)
    closed_while_waiting(job, tcp_line)
    assert state(job) == ("running", 1, "pending")
    assert leases.deliver(job, make.stored(job))
    assert books(alice) == (0, PRICE)
    found = generation.find(organization=alice.organization, generation_id=job.pk)
    assert found.image.is_alive
    assert found.answer_lost_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("close", [stop_sending, socket.socket.close])
def test_who_may_still_read_gets_the_image_that_is_charged(
    alice: Person, tcp_line: Line, close: Callable[[socket.socket], None]
) -> None:
    """Over TCP, a program that has left looks the same."""
    ours, theirs = tcp_line
    job = make.running(alice)
    left = threading.Event()
    close(theirs)

    def finish() -> None:
        assert left.wait(PATIENCE_SECONDS)
        assert leases.deliver(job, make.stored(job))

    waited, _ = at_once(
        lambda: generation.wait_until_finished(
            job, client=ClientConnection(ours), on_leave=left.set
        ),
        finish,
    )
    assert waited.status == "succeeded"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("shared", [{"idempotency_key": "k"}, {"joined_at": "2026-01-01T00:00Z"}])
def test_a_queued_job_that_others_may_wait_for_goes_on(
    alice: Person, tcp_line: Line, shared: dict[str, str]
) -> None:
    job = make.queued(alice)
    Generation.objects.filter(pk=job.pk).update(**shared)
    closed_while_waiting(job, tcp_line)
    assert state(job) == ("queued", 0, "pending")


@pytest.mark.django_db(transaction=True)
def test_who_left_before_the_admission_is_not_charged_beside_its_own_retry(
    alice: Person, tcp_line: Line
) -> None:
    ours, theirs = tcp_line
    stop_sending(theirs)
    environ: dict[str, Any] = {"gunicorn.socket": ours}
    answer = call("POST", GENERATIONS, BODY, headers=alice.headers, **environ)
    assert answer.status_code == 499
    assert "Nothing was charged" in answer.json()["error"]["message"]
    assert not Generation.objects.exists()


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
