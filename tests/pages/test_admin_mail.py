"""Mails in the admin: staff see who waits for one and why, and never what it says."""

import pytest
from django.test import Client
from django.utils import timezone

from billing.mails import outgoing
from billing.models import OutgoingMail
from tests.cast import Person
from tests.mails import sent
from tests.pages.admin import action_page, list_page, page_of, text

SECRET = "https://images.example/password/reset/key/1-secret"


@pytest.fixture
def waiting(alice: Person) -> OutgoingMail:
    [mail] = outgoing.write(kind="reset", to=["dora@example.com"], subject=SECRET, body=SECRET)
    mail.claim()
    mail.release("535 authentication failed", not_before=timezone.now().replace(year=2100))
    return mail


def test_a_mail_that_waits_is_shown_with_its_reason_and_without_its_text(
    waiting: OutgoingMail, staff: Client
) -> None:
    for page in (list_page(OutgoingMail), page_of(waiting)):
        shown = text(staff.get(page))
        assert "dora@example.com" in shown and "535 authentication failed" in shown
        assert "secret" not in shown


@pytest.mark.parametrize("address", ["dora@example.com", "Dora+1@Example.com"])
def test_an_address_finds_its_mails_also_once_they_are_sent(
    waiting: OutgoingMail, staff: Client, address: str
) -> None:
    OutgoingMail.objects.update(not_before=timezone.now())
    assert len(sent()) == 1
    found = text(staff.get(list_page(OutgoingMail), {"q": address}))
    assert "1 outgoing mail" in found and "Sent" in found
    assert "0 outgoing mails" in text(staff.get(list_page(OutgoingMail), {"q": "bob@example.com"}))


def test_a_mail_that_waits_is_tried_now(waiting: OutgoingMail, staff: Client) -> None:
    assert not sent()
    staff.post(action_page(OutgoingMail, "try-now", waiting))
    assert len(sent()) == 1
    told = text(staff.post(action_page(OutgoingMail, "try-now", waiting), follow=True))
    assert "It is Sent, and its text is gone." in told
