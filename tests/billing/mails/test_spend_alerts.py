"""Who keeps the money is told in time, once for each month, cap and share of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.keys import keys
from accounts.models import ApiKey, Membership
from billing import tasks
from billing.ledger import budgets
from billing.mails import spend_alerts
from billing.models import Budget, SpendAlert
from tests.at_once import at_once
from tests.cast import Person, make_member
from tests.mails import sent

CAP = 1_000_000
THIS_MONTH = budgets.this_month()
LAST_MONTH = (THIS_MONTH - timedelta(days=1)).replace(day=1)
raced = pytest.mark.django_db(transaction=True)


def spent(person: Person, micros: int, *, key: ApiKey | None = None, **fields: Any) -> Budget:
    """A budget of this month of which so much is spent."""
    return Budget.objects.create(
        organization=person.organization,
        api_key=key,
        posted_micros=micros,
        **{"month": THIS_MONTH} | fields,
    )


def capped(person: Person, cap_micros: int | None = CAP) -> Person:
    budgets.set_cap(organization=person.organization, cap_micros=cap_micros)
    return person


def capped_key(key: ApiKey, cap_micros: int = CAP) -> ApiKey:
    key.monthly_cap_micros = cap_micros
    key.save()
    return key


def shares() -> list[tuple[int, bool]]:
    """(per cent, whether it counts as sent) of each alert."""
    rows = SpendAlert.objects.order_by("percent")
    return [(row.percent, row.done_at is not None) for row in rows]


def test_nothing_is_sent_below_half_of_the_cap(alice: Person) -> None:
    spent(capped(alice), CAP // 2 - 1)
    assert spend_alerts.alert() == 0
    assert not SpendAlert.objects.exists()


def test_a_look_that_finds_nothing_is_one_query(
    alice: Person, charlie: Person, django_assert_num_queries
) -> None:
    spent(capped(alice), CAP // 2)
    spent(alice, CAP // 3, key=capped_key(alice.key))
    spent(charlie, CAP)
    assert spend_alerts.alert() == 1
    with django_assert_num_queries(1):
        assert spend_alerts.alert() == 0


@pytest.mark.parametrize(("micros", "share"), [(CAP // 2, 50), (800_000, 80), (CAP, 100)])
def test_each_share_is_told_once(alice: Person, micros: int, share: int) -> None:
    spent(capped(alice), micros)
    assert [spend_alerts.alert(), spend_alerts.alert()] == [1, 0]
    assert SpendAlert.objects.order_by("-percent").first().percent == share
    [message] = sent()
    assert (f"{share} %" in message.subject) == (share < 100)
    assert ("limit reached" in message.subject) == (share == 100)
    assert alice.organization.name in message.subject


def test_shares_that_are_passed_one_by_one_are_told_one_by_one(alice: Person) -> None:
    budget = spent(capped(alice), 0)
    for micros in (500_000, 600_000, 800_000, 999_999, CAP):
        Budget.objects.filter(pk=budget.pk).update(posted_micros=micros)
        spend_alerts.alert()
    assert [message.subject[:4] for message in sent()] == ["50 %", "80 %", "Spen"]
    assert shares() == [(50, True), (80, True), (100, True)]


def test_of_shares_passed_at_once_only_the_highest_is_told(alice: Person) -> None:
    spent(capped(alice), 850_000)
    spend_alerts.alert()
    assert [message.subject[:4] for message in sent()] == ["80 %"]
    assert shares() == [(50, True), (80, True)]


def test_the_mail_says_what_happens_and_where_to_raise_the_limit(alice: Person, settings) -> None:
    spent(capped(alice), 500_000, pending_micros=20_000)
    spend_alerts.alert()
    text = sent()[0].body
    assert alice.organization.name in text
    assert "$0.500 of $1.00 is spent, and $0.020 is held" in text
    assert "At 100 % new images are refused with insufficient_quota, and nothing more" in text
    assert f"{settings.BASE_URL}/dashboard/billing\n" in text
    assert "key" not in text


def test_a_keys_mail_names_the_key_and_its_page(alice: Person, settings) -> None:
    spent(alice, CAP, key=capped_key(alice.key))
    spend_alerts.alert()
    [message] = sent()
    assert message.subject.endswith("key Laptop")
    assert f'The API key "Laptop" ({alice.key.hint})' in message.body
    assert "New images with this key are refused with insufficient_quota" in message.body
    assert f"{settings.BASE_URL}/dashboard/keys/{alice.key.pk}\n" in message.body


def test_owners_admins_and_billing_are_told_and_members_are_not(alice: Person, bob: Person) -> None:
    for name, role in (("Ada", "admin"), ("Bill", "billing"), ("Gone", "owner")):
        person = make_member(name, alice.organization)
        Membership.objects.filter(user=person.user).update(role=role)
        person.user.is_active = name != "Gone"
        person.user.save()
    spent(capped(alice), CAP)
    spend_alerts.alert()
    told = [address for message in sent() for address in message.to]
    assert told == ["alice@example.com", "ada@example.com", "bill@example.com"]


def test_a_name_with_a_line_break_breaks_no_mail(alice: Person) -> None:
    alice.organization.name = "Fox & Sons\nBcc: everybody@example.com"
    alice.organization.save()
    spent(capped(alice), CAP)
    assert spend_alerts.alert() == 1
    assert sent()[0].subject == ("Spend limit reached: Fox & Sons Bcc: everybody@example.com")


def test_an_organization_that_nobody_keeps_is_asked_about_once(alice: Person) -> None:
    Membership.objects.all().delete()
    spent(capped(alice), CAP)
    spend_alerts.alert()
    assert (sent(), spend_alerts.alert()) == ([], 0)


def test_a_raised_cap_is_told_about_anew(alice: Person) -> None:
    spent(capped(alice), CAP)
    spend_alerts.alert()
    capped(alice, 2 * CAP)
    spend_alerts.alert()
    assert [message.subject[:4] for message in sent()] == ["Spen", "50 %"]
    capped(alice, CAP)
    assert spend_alerts.alert() == 0


def test_a_cap_that_refused_an_image_counts_as_reached(alice: Person) -> None:
    spent(capped(alice), 0, pending_micros=CAP - 5_000, exhausted_at=timezone.now())
    spend_alerts.alert()
    assert sent()[0].subject.startswith("Spend limit reached")
    assert "$0.00 of $1.00 is spent, and $0.995 is held" in sent()[0].body


def test_a_refusal_counts_no_more_once_a_keys_cap_was_raised(alice: Person) -> None:
    key = capped_key(alice.key)
    spent(alice, 790_000, key=key, exhausted_at=timezone.now())
    spend_alerts.alert()
    assert shares() == [(50, True)]


@pytest.mark.parametrize("cap_micros", [None, 0])
def test_no_cap_and_a_cap_of_nothing_need_no_mail(alice: Person, cap_micros: int | None) -> None:
    spent(capped(alice, cap_micros), CAP, exhausted_at=timezone.now())
    assert spend_alerts.alert() == 0


def test_last_month_is_over(alice: Person) -> None:
    spent(capped(alice), CAP, month=LAST_MONTH)
    assert spend_alerts.alert() == 0


def test_a_new_month_is_told_about_anew(alice: Person) -> None:
    budget = spent(capped(alice), CAP)
    spend_alerts.alert()
    SpendAlert.objects.update(month=LAST_MONTH)
    Budget.objects.filter(pk=budget.pk).update(posted_micros=CAP // 2)
    assert spend_alerts.alert() == 1


def test_of_a_rotated_line_the_newest_live_key_has_the_say(alice: Person) -> None:
    spent(alice, CAP, key=capped_key(alice.key))
    newer, _ = keys.mint(
        organization=alice.organization, name="Newer", root=alice.key, monthly_cap_micros=2 * CAP
    )
    revoked, _ = keys.mint(
        organization=alice.organization, name="Newest", root=alice.key, monthly_cap_micros=CAP
    )
    keys.revoke(revoked)
    spend_alerts.alert()
    assert "50 %" in sent()[0].subject
    assert newer.hint in sent()[0].body


def test_a_line_without_a_live_key_is_told_nothing(alice: Person) -> None:
    spent(alice, CAP, key=capped_key(alice.key))
    keys.revoke(alice.key)
    assert spend_alerts.alert() == 0


def test_the_mail_server_is_not_asked_when_a_mail_is_written(alice: Person, settings) -> None:
    spent(capped(alice), CAP)
    there = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "nowhere.Backend"
    assert [spend_alerts.alert(), spend_alerts.alert()] == [1, 0]
    settings.EMAIL_BACKEND = there
    assert [message.to for message in sent()] == [["alice@example.com"]]


def test_whoever_died_while_sending_is_replaced_after_ten_minutes(alice: Person) -> None:
    spent(capped(alice), CAP)
    [due] = spend_alerts.due()
    spend_alerts.warn(due)
    until = timezone.now() - timedelta(minutes=9) + SpendAlert.LEASE
    SpendAlert.objects.update(done_at=None, claimed_until=until, claimed_at=None)
    assert spend_alerts.alert() == 0
    SpendAlert.objects.update(claimed_until=until - timedelta(minutes=2))
    assert spend_alerts.alert() == 1


@raced
def test_many_who_look_at_once_send_one_mail(alice: Person, charlie: Person) -> None:
    spent(capped(alice), CAP)
    spent(capped(charlie), CAP)
    assert sum(at_once(*[spend_alerts.alert] * 8)) == 2
    assert len(sent()) == 2
    assert shares() == [(50, True)] * 2 + [(80, True)] * 2 + [(100, True)] * 2


def test_beat_asks_often_and_lets_late_questions_lapse(settings) -> None:
    [entry] = [
        entry
        for entry in settings.CELERY_BEAT_SCHEDULE.values()
        if entry["task"] == tasks.alert.name
    ]
    assert (entry["schedule"], entry["options"]) == (15.0, {"expires": 15})


def test_the_task_sends_what_is_due(alice: Person) -> None:
    spent(capped(alice), CAP)
    tasks.alert()
    assert len(sent()) == 1
