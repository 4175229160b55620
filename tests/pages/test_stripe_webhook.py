"""The address of Stripe's webhooks: what is kept, what is refused, and who is woken."""

import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from billing import tasks, webhook_events
from billing.models import WebhookEvent
from billing.pages import webhook
from tests.pages.paying import (
    WEBHOOK,
    send_event,
)

SECRET = "whsec_test"
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.paid",
    "created": 1_776_391_234,
    "data": {"object": {"id": "in_1"}},
}


@pytest.fixture
def secret(settings: Any) -> str:
    settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_THIN_WEBHOOK_SECRET = SECRET
    return SECRET


def signature_of(body: bytes, *, secret: str = SECRET, ago: float = 0) -> str:
    at = int(time.time() - ago)
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids that a worker was woken for."""
    woken: list[str] = []
    monkeypatch.setattr(webhook, "wake_worker", woken.append)
    return woken


@pytest.mark.usefixtures("db", "secret")
def test_an_event_is_kept_once_and_a_worker_woken_once(client: Client, queue: list[str]) -> None:
    body = json.dumps(EVENT).encode()
    for _ in range(5):
        answer = send_event(client, body, signature_of(body))
        assert (answer.status_code, answer.content) == (200, b"")
    [event] = WebhookEvent.objects.all()
    assert (event.event_id, event.type, event.object_id) == ("evt_1", "invoice.paid", "in_1")
    assert queue == ["evt_1"]


BODY = json.dumps(EVENT).encode()


@pytest.mark.usefixtures("db", "secret")
@pytest.mark.parametrize(
    ("body", "signature"),
    [
        pytest.param(BODY, signature_of(BODY, ago=301), id="old"),
        pytest.param(BODY, signature_of(BODY, ago=-9_000), id="from the future"),
        pytest.param(BODY, signature_of(BODY, secret="whsec_other"), id="another secret"),
        pytest.param(BODY + b" ", signature_of(BODY), id="another body"),
        pytest.param(BODY, "", id="none"),
        pytest.param(BODY, "t=now,v1=", id="nonsense"),
        pytest.param(BODY, f"t={int(time.time())},v1=\xe9", id="not ASCII"),
        pytest.param(BODY, "t=" + "9" * 5_000 + ",v1=0", id="a moment without end"),
        pytest.param(b"\xff", signature_of(b"\xff"), id="not UTF-8"),
        pytest.param(b"{", signature_of(b"{"), id="no JSON"),
        pytest.param(b"[]", signature_of(b"[]"), id="a list"),
        pytest.param(b"{}", signature_of(b"{}"), id="no event"),
        pytest.param(b'{"object":"charge"}', signature_of(b'{"object":"charge"}'), id="an object"),
    ],
)
def test_what_stripe_did_not_sign_or_what_is_no_event_is_refused_and_not_kept(
    client: Client, queue: list[str], body: bytes, signature: str
) -> None:
    answer = send_event(client, body, signature)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert not WebhookEvent.objects.exists()
    assert queue == []


@pytest.mark.usefixtures("db", "secret")
def test_too_large_a_body_is_not_read_to_its_end(client: Client, settings: Any) -> None:
    body = b" " * (settings.BODY_LIMIT_BYTES + 1)
    assert send_event(client, body, signature_of(body)).status_code == 413


@pytest.mark.usefixtures("db")
def test_webhooks_need_no_sign_in_no_token_and_are_posted(client: Client, secret: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert send_event(strict, BODY, signature_of(BODY)).status_code == 200
    for method in ("get", "put", "delete"):
        assert getattr(client, method)(WEBHOOK).status_code == 405


@pytest.mark.usefixtures("db")
def test_without_a_secret_nothing_is_believed(client: Client, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_THIN_WEBHOOK_SECRET = ""
    assert send_event(client, BODY, signature_of(BODY, secret="")).status_code == 400


@pytest.mark.usefixtures("db", "secret")
def test_a_broker_that_is_away_changes_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_args: Any, **_options: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(tasks.process_event, "apply_async", lost)
    assert send_event(client, BODY, signature_of(BODY)).status_code == 200
    assert WebhookEvent.objects.filter(done_at=None).exists()


@pytest.mark.usefixtures("db", "secret")
def test_with_the_database_away_stripe_is_told_to_send_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(_event: Any) -> bool:
        raise OperationalError

    monkeypatch.setattr(webhook_events, "receive", away)
    client = Client(raise_request_exception=False)
    assert send_event(client, BODY, signature_of(BODY)).status_code == 500
