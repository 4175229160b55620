"""A mail is written at once and sent later: by a mail server that answers, is silent, refuses, or is not there."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core import mail as memory
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from accounts.limits import redis_buckets
from accounts.models import User
from billing import tasks
from billing.mails import notices, outgoing, transport
from billing.models import OutgoingMail
from tests.accounts.entrance import PASSWORD
from tests.at_once import at_once
from tests.cast import Person
from tests.certificates import self_signed
from tests.servers import free_port
from tests.smtp_server import SmtpServer, smtp_server

LINK = "https://images.example/password/reset/key/1-secret"


@pytest.fixture
def there(settings: Any) -> Any:
    """Mails go to 127.0.0.1, and nothing is waited for longer than 0.2 s."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = "127.0.0.1", 0.2
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
    settings.EMAIL_PORT = free_port()
    return settings


@contextmanager
def mail_server(settings: Any, **told: Any) -> Iterator[SmtpServer]:
    with smtp_server(**told) as server:
        settings.EMAIL_PORT = server.port
        yield server


def write(*to: str, **more: Any) -> list[OutgoingMail]:
    options = {"kind": "reset", "subject": "Choose\na new password", "body": f"Hello,\n\n{LINK}"}
    return outgoing.write(to=to or ["dora@example.com"], **options | more)


def row() -> OutgoingMail:
    return OutgoingMail.objects.get()


def wait_is_over() -> None:
    OutgoingMail.objects.filter(done_at=None).update(not_before=timezone.now())
    redis_buckets.client().delete(outgoing.AWAY)


def test_a_mail_that_was_sent_leaves_no_address_and_no_link(db: None, there: Any) -> None:
    [written] = write()
    with mail_server(there) as server:
        assert [outgoing.send_due(), outgoing.send_due()] == [1, 0]
    [body] = server.bodies
    assert LINK in body
    assert "Subject: Choose a new password" in body
    assert "Auto-Submitted: auto-generated" in body
    assert (row().outcome, row().recipient, row().subject, row().body) == ("sent", "", "", "")
    assert row().recipient_digest == written.recipient_digest
    assert len(written.recipient_digest) == 64


def test_each_recipient_has_a_mail_of_their_own(db: None, there: Any) -> None:
    write("a@example.com", "b@example.com")
    with mail_server(there, answers={"RCPT": ["550 5.1.1 no such user"]}) as server:
        assert outgoing.send_due() == 1
    assert server.recipients == ["b@example.com"]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"silent": True}, "SMTPServerDisconnected: Connection unexpectedly closed: timed out"),
        ({"answers": {"BANNER": ["421 too busy"]}}, "SMTPConnectError: 421 too busy"),
        ({"answers": {"MAIL": ["550 5.7.60 hello@localhost may not send"]}}, "550 5.7.60 … may"),
        ({"answers": {"MAIL": ["421 closing"]}}, "SMTPSenderRefused: 421 closing"),
        ({"answers": {"RCPT": ["421 4.7.0 closing"]}}, "421 4.7.0 closing"),
        ({"answers": {"BODY": ["421 closing"]}}, "421 closing"),
    ],
)
def test_a_server_that_can_send_nothing_is_left_alone_and_tried_again(
    db: None, there: Any, told: dict[str, Any], reason: str
) -> None:
    write("a@example.com", "b@example.com")
    with mail_server(there, **told) as server:
        assert outgoing.work_shift() == 0
        assert outgoing.work_shift() == 0
        assert server.connections == 1
    first = OutgoingMail.objects.order_by("pk")[0]
    assert (first.tries, first.claimed_until, first.done_at) == (1, None, None)
    assert reason in first.note
    wait_is_over()
    with mail_server(there) as server:
        assert outgoing.work_shift() == 2


def test_a_server_that_is_not_there_is_asked_every_minute_at_least(db: None, there: Any) -> None:
    write()
    for _ in range(9):
        assert outgoing.work_shift() == 0
        wait = redis_buckets.client().pttl(outgoing.AWAY) / 1000
        assert 0 < wait <= outgoing.LONGEST_AWAY_SECONDS
        wait_is_over()
    assert wait > outgoing.LONGEST_AWAY_SECONDS / 2 - 1
    assert row().note == "ConnectionRefusedError: Connection refused"
    with mail_server(there):
        assert outgoing.work_shift() == 1


def test_a_task_that_is_stopped_gives_its_mail_back(
    db: None, there: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(*_: Any) -> None:
        raise SoftTimeLimitExceeded

    write()
    monkeypatch.setattr(transport.Transport, "send", drip)
    assert outgoing.work_shift() == 0
    assert (row().note, row().claimed_until) == ("no answer in time", None)


@pytest.mark.parametrize("answers", [{"RCPT": ["451 greylisted"]}, {"BODY": ["450 later"]}])
def test_a_mail_that_is_deferred_holds_no_other_up(
    db: None, there: Any, answers: dict[str, list[str]]
) -> None:
    write("a@example.com", "b@example.com")
    with mail_server(there, answers=answers) as server:
        assert outgoing.work_shift() == 1
        assert outgoing.work_shift() == 0
        wait_is_over()
        assert outgoing.work_shift() == 1
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer", ["550 5.1.1 <dora@example.com>: unknown", f"554 spam: {LINK} is listed"]
)
def test_a_mail_that_is_refused_for_good_is_given_up(
    db: None, there: Any, caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    caplog.set_level("INFO")
    write()
    verb = "RCPT" if answer.startswith("550") else "BODY"
    with mail_server(there, answers={verb: [answer] * 9}) as server:
        for _ in range(9):
            assert outgoing.work_shift() == 0
            wait_is_over()
    assert server.connections == 1 + len(outgoing.REFUSAL_WAITS)
    assert (row().outcome, row().recipient, row().body) == ("given_up", "", "")
    assert row().note.startswith(answer[:3])
    told = caplog.text + str([vars(record) for record in caplog.records]) + row().note
    assert "mail given up" in told
    assert "secret" not in told and "dora" not in told


def test_an_address_that_no_mail_can_have_stops_no_other(db: None, there: Any) -> None:
    write("dora\n@example.com", "b@example.com")
    with mail_server(there) as server:
        assert outgoing.work_shift() == 1
    assert server.recipients == ["b@example.com"]


def test_a_link_that_has_run_out_is_not_sent(db: None, there: Any) -> None:
    write(life=timedelta(days=3))
    outgoing.work_shift()
    OutgoingMail.objects.update(expires_at=timezone.now())
    wait_is_over()
    with mail_server(there) as server:
        assert outgoing.work_shift() == 0
    assert not server.connections
    assert (row().outcome, row().body) == ("expired", "")
    assert row().note == "ConnectionRefusedError: Connection refused"


def test_where_the_server_has_no_starttls_nothing_is_told_it(
    db: None, there: Any, caplog: pytest.LogCaptureFixture
) -> None:
    there.EMAIL_USE_TLS, there.EMAIL_HOST_USER, there.EMAIL_HOST_PASSWORD = True, "u", "secret"
    write()
    with mail_server(there, extensions=("AUTH PLAIN",)) as server:
        assert outgoing.work_shift() == 0
    assert [command.split()[0] for command in server.commands] == ["ehlo", "quit"]
    assert "STARTTLS" in row().note
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_wrong_password_is_an_error_in_the_log_and_no_mail_is_lost(
    db: None, there: Any, caplog: pytest.LogCaptureFixture
) -> None:
    there.EMAIL_HOST_USER, there.EMAIL_HOST_PASSWORD = "u", "secret"
    write()
    answers = {"AUTH": ["535 5.7.8 authentication failed"]}
    with mail_server(there, extensions=("AUTH PLAIN",), answers=answers):
        assert outgoing.work_shift() == 0
        assert row().note == "SMTPAuthenticationError: 535 5.7.8 authentication failed"
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        wait_is_over()
        assert outgoing.work_shift() == 1


@pytest.mark.parametrize("form", ["smtps", "smtp+tls"])
@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_from_the_first_byte_or_by_starttls_and_verified(
    db: None,
    there: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    *,
    trusted: bool,
) -> None:
    certificate, key = self_signed(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    there.EMAIL_HOST = "localhost"
    there.EMAIL_USE_SSL, there.EMAIL_USE_TLS = form == "smtps", form == "smtp+tls"
    there.EMAIL_TIMEOUT = 2
    write()
    extensions = () if form == "smtps" else ("STARTTLS",)
    with mail_server(there, tls=context, extensions=extensions) as server:
        assert outgoing.work_shift() == int(trusted)
    assert len(server.bodies) == int(trusted)
    if not trusted:
        assert row().note.startswith("its certificate cannot be verified: self")


def test_an_answer_in_the_open_where_tls_is_expected_is_told(db: None, there: Any) -> None:
    there.EMAIL_USE_SSL = True
    write()
    with mail_server(there):
        assert outgoing.work_shift() == 0
    assert "SSL" in row().note


@pytest.mark.parametrize(
    "form",
    [
        ("/signup", {"email": "dora@example.com", "password1": PASSWORD}),
        ("/signup", {"email": "alice@example.com", "password1": PASSWORD}),
        ("/password/reset", {"email": "alice@example.com"}),
        ("/password/reset", {"email": "nobody@example.com"}),
    ],
)
def test_no_form_waits_for_the_mail_server_or_fails_with_it(
    alice: Person, there: Any, form: tuple[str, dict[str, str]]
) -> None:
    with mail_server(there, silent=True) as server:
        assert Client().post(*form).status_code == 302
        answered_before = not server.connections
        assert outgoing.work_shift() == 0
        assert answered_before and server.connections == 1
    wait_is_over()
    with mail_server(there) as server:
        assert outgoing.work_shift() == 1
    assert server.recipients == [form[1]["email"]]
    assert User.objects.filter(email="dora@example.com").exists() == ("dora" in form[1]["email"])


def test_a_mail_belongs_to_the_transaction_of_what_it_tells(db: None) -> None:
    with transaction.atomic():
        write()
        transaction.set_rollback(True)
    assert not OutgoingMail.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_worker_is_told_once_the_mail_is_committed(alice: Person) -> None:
    redis = redis_buckets.client()
    with transaction.atomic():
        notices.note("trial_ended", organization=alice.organization)
        notices.send_due()
        assert redis.llen("stripe") == 0
    assert (redis.llen("stripe"), redis.llen("default")) == (1, 0)


@pytest.mark.django_db(transaction=True)
def test_of_those_who_send_at_once_each_mail_is_sent_by_one(settings: Any) -> None:
    write(*[f"{number}@example.com" for number in range(8)])
    assert sum(at_once(*[outgoing.send_due] * 4)) == 8
    assert len({message.to[0] for message in memory.outbox}) == len(memory.outbox) == 8


def test_one_shift_runs_at_a_time(db: None) -> None:
    write()
    lock = redis_buckets.client().lock(outgoing.SHIFT_LOCK, timeout=60)
    assert lock.acquire()
    assert outgoing.work_shift() == 0
    lock.release()
    assert outgoing.work_shift() == 1


def test_without_redis_mails_go_too(db: None, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    redis_buckets.client.cache_clear()
    write()
    assert outgoing.work_shift() == 1
    redis_buckets.client.cache_clear()


def test_a_worker_that_died_is_replaced_and_the_mail_keeps_its_id(db: None) -> None:
    [dead] = write()
    assert dead.claim()
    again = partial(outgoing.send_due)
    assert again() == 0
    OutgoingMail.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert again() == 1
    assert str(dead.reference) in memory.outbox[0].extra_headers["Message-ID"]


def test_the_database_refuses_a_row_that_is_done_and_not_empty(db: None) -> None:
    write()
    with pytest.raises(IntegrityError), transaction.atomic():
        OutgoingMail.objects.update(done_at=timezone.now(), outcome="sent")


def test_old_rows_go_and_unsent_ones_stay(db: None) -> None:
    write("a@example.com", "b@example.com")
    outgoing.send_due()
    old = timezone.now() - timedelta(days=31)
    OutgoingMail.objects.filter(pk=OutgoingMail.objects.order_by("pk")[0].pk).update(done_at=old)
    write("c@example.com")
    OutgoingMail.objects.filter(done_at=None).update(created_at=old)
    tasks.look_after_mails()
    assert OutgoingMail.objects.count() == 2


def test_mails_that_no_worker_takes_are_told_in_the_log(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    write()
    tasks.look_after_mails()
    assert not caplog.records
    OutgoingMail.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    tasks.look_after_mails()
    assert "mails wait" in caplog.text


def test_the_mail_server_holds_up_no_sweep_and_no_reaper(settings: Any) -> None:
    from ecohash.background import beat_schedule
    from ecohash.celery import app

    queues = {
        entry["task"]: app.amqp.router.route({}, entry["task"])["queue"].name
        for entry in settings.CELERY_BEAT_SCHEDULE.values()
    }
    assert queues[outgoing.SEND_TASK] == "stripe"
    assert {queues[name] for name in beat_schedule.DEFAULT_WORKER_TASKS} == {"default"}
    # One mail may be begun at the last moment of a shift, and then the task is stopped.
    assert outgoing.SHIFT_SECONDS + settings.EMAIL_TIMEOUT <= outgoing.SHIFT_LIMIT_SECONDS
    assert tasks.send_mails.soft_time_limit == outgoing.SHIFT_LIMIT_SECONDS
    assert tasks.send_mails.time_limit < OutgoingMail.LEASE.total_seconds()


def test_the_form_of_a_message_id_is_a_mails(db: None) -> None:
    [written] = write()
    message = transport.message_of(written).message()
    assert re.fullmatch(r"<[0-9a-f-]{36}@[\w.]+>", message["Message-ID"])
