"""Sessions that have expired are removed, and nobody else is signed out."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from ecohash import tasks
from ecohash.background import beat_schedule
from tests.cast import Person

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def expire(number: int) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Session.objects.bulk_create(
        Session(session_key=f"{n:032}", session_data="", expire_date=past) for n in range(number)
    )


def test_expired_sessions_go_and_a_member_stays_signed_in(alice: Person, client: Client) -> None:
    client.force_login(alice.user, backend=BACKEND)
    expire(3)
    tasks.clear_sessions()
    assert [row.session_key for row in Session.objects.all()] == [client.session.session_key]
    assert client.get("/dashboard").status_code == 200


def test_very_many_are_left_to_the_next_message(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[None] = []
    monkeypatch.setattr(tasks, "SESSIONS_AT_ONCE", 2)
    monkeypatch.setattr(tasks, "SHIFT_SECONDS", 0)
    monkeypatch.setattr(tasks.clear_sessions, "delay", lambda: rung.append(None))
    expire(5)
    tasks.clear_sessions()
    assert (Session.objects.count(), len(rung)) == (3, 1)


def test_it_is_done_each_hour() -> None:
    entry = beat_schedule.schedule(seal_seconds=60)["clear expired sessions"]
    assert (entry["task"], entry["schedule"]) == (tasks.clear_sessions.name, 3600)
