"""Mails about money that happened: noted as often as one likes, sent once, to those whom it concerns."""

from typing import Any

import pytest
from django.template import TemplateDoesNotExist

from accounts.models import Membership
from billing.mails import notices
from billing.models import Notice, OutgoingMail
from tests.cast import Person
from tests.mails import sent
from tests.payment import buy, spend_credit
from tests.stripe_sandbox import StripeSandbox


@pytest.fixture(autouse=True)
def _mail_is_kept(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def to() -> list[list[str]]:
    return [message.to for message in sent()]


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
    assert to() == [["alice@example.com"], ["alice@example.com"], ["bob@example.com"]]


def test_without_staff_it_is_logged_and_done(
    alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    notices.note("refund_at_stripe", subject="ch_1")
    assert notices.send_due() == 0
    assert "staff must look" in caplog.text
    assert Notice.objects.get().done_at


def test_the_mail_server_is_not_asked_when_a_mail_is_written(alice: Person, settings: Any) -> None:
    there = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "nowhere.Backend"
    notices.note("trial_ended", organization=alice.organization)
    assert notices.send_due() == 1
    settings.EMAIL_BACKEND = there
    assert to() == [["alice@example.com"]]


def test_a_mail_that_cannot_be_written_stays_noted(alice: Person) -> None:
    notices.note("no_such_text", organization=alice.organization)
    with pytest.raises(TemplateDoesNotExist):
        notices.send_due()
    assert not Notice.objects.get().done_at and not OutgoingMail.objects.exists()


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
