"""Mails are written to the database and sent by a worker: nobody waits for the mail server, and nothing fails with it.

`write` belongs into the transaction of what the mail tells. A mail is sent at least once: a worker that dies between
the server's answer and its own note has it sent again, under the same Message-ID.
"""

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from amqp import AMQPError
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis import RedisError
from redis.exceptions import LockError

from accounts.limits import redis_buckets
from accounts.limits.circuits import asking, broker_circuit
from accounts.sign_in import mailboxes
from billing import outbox
from billing.mails.transport import MailRefused, ServerAway, Transport
from billing.models import OutgoingMail
from billing.models.mail import KEPT

logger = logging.getLogger(__name__)

SEND_TASK = "billing.mail.send"
# No mail is begun after that long, and a shift ends after SHIFT_LIMIT_SECONDS: other tasks wait behind it.
SHIFT_SECONDS = 10
SHIFT_LIMIT_SECONDS = 20
# A mail server that was away is tried again after at most that long.
LONGEST_AWAY_SECONDS = 60
# "Later" of a server may be meant in minutes: greylisting.
LONGEST_DEFERRAL_SECONDS = 600
# Waits after a refusal for good, in seconds: whoever runs the server may have made a mistake. Then it is given up.
REFUSAL_WAITS = (60, 300, 900, 3_600)
LIFE = timedelta(days=7)
WAITS_TOO_LONG = timedelta(minutes=10)
REMOVED_AT_ONCE = 1_000
SHIFT_LOCK, AWAY = "ecohash:mail:shift", "ecohash:mail:away"


def write(
    *, kind: str, to: Iterable[str], subject: str, body: str, life: timedelta = LIFE
) -> list[OutgoingMail]:
    """Have it sent to each of these addresses, once the caller's transaction commits.

    `life` is how long it is worth sending: no longer than a link in it works.
    """
    expires_at = timezone.now() + life
    mails = [
        OutgoingMail(
            kind=kind,
            recipient=address,
            recipient_digest=mailboxes.digests(address)[0],
            # A name may hold a line break, and a subject may not.
            subject=" ".join(subject.split()),
            body=body,
            expires_at=expires_at,
        )
        for address in to
    ]
    OutgoingMail.objects.bulk_create(mails)
    if mails:
        transaction.on_commit(wake_worker)
    return mails


def wake_worker() -> None:
    """Have mails sent at once; where that message is lost, the periodic task finds them within seconds."""
    try:
        with asking(broker_circuit()):
            current_app.send_task(SEND_TASK, retry=False)
    except (OperationalError, AMQPError, RedisError, OSError) as error:
        logger.warning("mail task not sent", extra={"error": type(error).__name__})


def work_shift() -> int:
    """Send what is due for some seconds; returns how many mails went.

    One shift runs at a time, so that a mail server that does not answer holds one process of a worker. While it
    is away, it is tried after growing waits. Without Redis neither holds, and mails go all the same.
    """
    try:
        redis = redis_buckets.client()
        if redis.exists(AWAY):
            return 0
        lock = redis.lock(SHIFT_LOCK, timeout=SHIFT_LIMIT_SECONDS + 10, blocking=False)
        if not lock.acquire():
            return 0
    except RedisError:
        return send_due()
    try:
        return send_due()
    finally:
        try:
            lock.release()
        except (RedisError, LockError):
            logger.warning("lock of the mail shift was lost")


def send_due() -> int:
    """Send what is due, the oldest first; returns how many mails went. Safe to run twice at once."""
    until = time.monotonic() + SHIFT_SECONDS
    sent = 0
    transport = Transport()
    try:
        while time.monotonic() < until:
            mail = OutgoingMail.objects.due().order_by("created_at", "pk").first()
            if mail is None:
                break
            if mail.claim():
                sent += _send(mail, transport)
    except ServerAway as error:
        level = logging.ERROR if error.needs_staff else logging.WARNING
        logger.log(level, "mail server away", extra={"reason": str(error)})
    finally:
        transport.close()
    return sent


def _send(mail: OutgoingMail, transport: Transport) -> bool:
    if mail.expires_at <= timezone.now():
        mail.done(mail.note, outcome=OutgoingMail.Outcome.EXPIRED)
        logger.error("mail expired unsent", extra={"mail": mail.pk, "kind": mail.kind})
        return False
    try:
        transport.send(mail)
    except MailRefused as refusal:
        _put_off(mail, refusal)
        return False
    except (ServerAway, SoftTimeLimitExceeded) as error:
        away = error if isinstance(error, ServerAway) else ServerAway("no answer in time")
        not_before = outbox.later(mail.tries, longest_seconds=LONGEST_AWAY_SECONDS)
        mail.release(str(away), not_before=not_before)
        _note_away(not_before)
        raise away from None
    mail.done()
    return True


def _put_off(mail: OutgoingMail, refusal: MailRefused) -> None:
    facts = {"mail": mail.pk, "kind": mail.kind, "reason": str(refusal)}
    if not refusal.permanent:
        not_before = outbox.later(mail.tries, longest_seconds=LONGEST_DEFERRAL_SECONDS)
        mail.release(str(refusal), not_before=not_before)
        logger.info("mail deferred", extra=facts)
    elif mail.refusals < len(REFUSAL_WAITS):
        wait = timedelta(seconds=REFUSAL_WAITS[mail.refusals])
        mail.release(str(refusal), not_before=timezone.now() + wait, refusals=mail.refusals + 1)
        logger.warning("mail refused", extra=facts)
    else:
        mail.done(str(refusal), outcome=OutgoingMail.Outcome.GIVEN_UP, refusals=mail.refusals + 1)
        logger.error("mail given up", extra=facts)


def _note_away(not_before: datetime) -> None:
    """Nobody asks the mail server before that moment."""
    wait = max(1, round((not_before - timezone.now()).total_seconds() * 1_000))
    try:
        redis_buckets.client().set(AWAY, "1", px=wait)
    except RedisError:
        return


def remove_old() -> bool:
    """Remove some of the rows that were done long ago; whether there may be more."""
    old = OutgoingMail.objects.filter(done_at__lt=timezone.now() - KEPT)
    removed, _ = OutgoingMail.objects.filter(
        pk__in=list(old.values_list("pk", flat=True)[:REMOVED_AT_ONCE])
    ).delete()
    return removed == REMOVED_AT_ONCE


def warn_of_waiting() -> None:
    """Log that nobody sends mails, where one was not even tried for long: the worker may be missing."""
    waiting = OutgoingMail.objects.filter(
        done_at=None, tries=0, created_at__lt=timezone.now() - WAITS_TOO_LONG
    ).count()
    if waiting:
        logger.error(
            "mails wait: is the stripe worker running, and the mail server there?",
            extra={"mails": waiting},
        )
