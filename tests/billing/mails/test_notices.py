"""Mails about money that happened: noted as often as one likes, sent once, to those whom it concerns."""

from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from accounts.models import Membership
from billing.mails import notices
from billing.models import Notice
from tests.cast import Person
from tests.payment import buy, spend_credit
from tests.stripe_sandbox import StripeSandbox


@pytest.fixture(autouse=True)
def _mail_is_kept(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def to() -> list[list[str]]:
    return [message.to for message in mail.outbox]


def test_what_is_noticed_often_is_told_once(alice: Person) -> None:
    for _ in range(3):
        notices.note("trial_ended", organization=alice.organization)
        notices.send_due()
    assert to() == [["alice@example.com"]]


def test_staff_hear_of_theirs_once_too(alice: Person, charlie: Person) -> None:
    charlie.user.is_staff = True
    charlie.user.save()
    for subject in ("in_1", "in_1", "in_2"):
        notices.note("refund_at_stripe", subject=subject)
    notices.send_due()
    assert to() == [["charlie@example.com"]] * 2


def test_those_who_look_after_the_money_are_told_and_others_are_not(
    alice: Person, bob: Person
) -> None:
    notices.note("trial_ended", organization=alice.organization)
    notices.send_due()
    Membership.objects.filter(user=bob.user).update(role="billing")
    notices.note("account_frozen", organization=alice.organization, subject="dispute")
    notices.send_due()
    assert to() == [["alice@example.com"], ["alice@example.com", "bob@example.com"]]


def test_without_staff_it_is_logged_and_done(
    alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    notices.note("refund_at_stripe", subject="ch_1")
    assert notices.send_due() == 0
    assert "staff must look" in caplog.text
    assert Notice.objects.get().done_at


def test_a_mail_server_that_is_away_is_tried_again_later(
    alice: Person, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    notices.note("trial_ended", organization=alice.organization)
    assert notices.send_due() == 0
    _mail_is_back(settings)
    assert notices.send_due() == 0
    Notice.objects.update(not_before=timezone.now())
    assert notices.send_due() == 1


def _mail_is_back(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def test_a_used_up_trial_is_told_and_one_with_a_card_is_not(
    alice: Person, charlie: Person, unfunded: Person, subscriber: Person, stripe_here: StripeSandbox
) -> None:
    notices.note_ended_trials()
    assert not Notice.objects.exists()
    # 25 pictures; then less than the cheapest is left.
    buy(alice, "1024x1024", 24)
    buy(alice, "768x768")
    notices.note_ended_trials()
    notices.note_ended_trials()
    assert [notice.organization for notice in Notice.objects.all()] == [alice.organization]
    spend_credit(charlie.organization)
    notices.note_ended_trials()
    assert Notice.objects.count() == 1
