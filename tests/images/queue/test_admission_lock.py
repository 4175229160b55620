"""Callers of one organization go one by one; those of another do not wait for them."""

import threading
from concurrent.futures import ThreadPoolExecutor

from images.queue.admission_lock import OrganizationLock
from tests.at_once import at_once


def test_of_one_organization_one_is_inside_at_a_time() -> None:
    lock, inside, most = OrganizationLock(), [0], [0]

    def go() -> None:
        with lock.acquire(1):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.005)
            inside[0] -= 1

    at_once(*[go] * 8)
    assert most == [1]


def test_another_organization_passes_meanwhile() -> None:
    lock = OrganizationLock()
    with lock.acquire(1), lock.acquire(2):
        assert len(lock) == 2


def test_who_must_wait_lets_go_first_and_nobody_else_does() -> None:
    lock, told = OrganizationLock(), threading.Event()

    def second() -> bool:
        with lock.acquire(1, told.set):
            return told.is_set()

    with ThreadPoolExecutor() as pool:
        with lock.acquire(1, told.set):
            assert not told.is_set()
            waiting = pool.submit(second)
            assert told.wait(5)
        assert waiting.result()


def test_nothing_is_kept_of_who_has_gone() -> None:
    lock = OrganizationLock()

    def fail() -> None:
        with lock.acquire(1):
            raise LookupError

    at_once(*[fail] * 4)
    assert len(lock) == 0
