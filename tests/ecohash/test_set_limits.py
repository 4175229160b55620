"""Operators give an organization limits of its own, or lift them."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.limits.plans import NONE, Limits, limits_of
from tests.cast import Person


def set_limits(*words: str) -> str:
    said = StringIO()
    call_command("set_limits", *words, stdout=said)
    return said.getvalue()


def limits(person: Person) -> Limits:
    person.organization.refresh_from_db()
    return limits_of(person.organization)


def test_without_a_figure_it_only_shows(alice: Person) -> None:
    assert "images_per_minute    300" in set_limits("alice@example.com")
    assert limits(alice) == Limits(600, 300, 64)


def test_each_figure_is_set_alone_and_zero_is_the_default_again(alice: Person) -> None:
    set_limits("Alice@example.com", "--images-per-minute", "10", "--images-in-flight", "2")
    assert limits(alice) == Limits(600, 10, 2)
    set_limits("alice@example.com", "--images-per-minute", "0")
    assert limits(alice) == Limits(600, 300, 2)


def test_lifting_and_restoring(alice: Person) -> None:
    assert "no limit" in set_limits("alice@example.com", "--lift")
    assert limits(alice) == NONE
    set_limits("alice@example.com", "--restore")
    assert limits(alice) == Limits(600, 300, 64)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody@example.com"], "owns no organization"),
        (["bob@example.com"], "owns no organization"),
        (["alice@example.com", "--images-per-minute", "-1"], "--images-per-minute must be 0"),
    ],
)
def test_what_cannot_be_done_is_said(bob: Person, words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        set_limits(*words)
