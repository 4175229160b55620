"""Callers of one organisation go one by one; those of another do not wait for them."""

import threading
from concurrent.futures import ThreadPoolExecutor

from images.queue.admission_lock import Turnstile
from tests.at_once import at_once


def test_of_one_organisation_one_is_inside_at_a_time() -> None:
    turnstile, inside, most = Turnstile(), [0], [0]

    def go() -> None:
        with turnstile.through(1):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.005)
            inside[0] -= 1

    at_once(*[go] * 8)
    assert most == [1]


def test_another_organisation_passes_meanwhile() -> None:
    turnstile = Turnstile()
    with turnstile.through(1), turnstile.through(2):
        assert len(turnstile) == 2


def test_who_must_wait_lets_go_first_and_nobody_else_does() -> None:
    turnstile, told = Turnstile(), threading.Event()

    def second() -> bool:
        with turnstile.through(1, told.set):
            return told.is_set()

    with ThreadPoolExecutor() as pool:
        with turnstile.through(1, told.set):
            assert not told.is_set()
            waiting = pool.submit(second)
            assert told.wait(5)
        assert waiting.result()


def test_nothing_is_kept_of_who_has_gone() -> None:
    turnstile = Turnstile()

    def fail() -> None:
        with turnstile.through(1):
            raise LookupError

    at_once(*[fail] * 4)
    assert len(turnstile) == 0
