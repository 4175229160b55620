"""Stripe's key and signing secrets go down every path of payment that can fail, and are found nowhere after it."""

import io
import logging
import logging.config
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as configured
from django.test import Client

from billing import checks
from billing.gateway.errors import GatewayError
from billing.mails import notices
from billing.models import SendingPause, WebhookEvent
from billing.reporting import batching, sending
from billing.subscriptions import syncing
from tests.cast import Person
from tests.ecohash.conftest import handlers_writing_to
from tests.house.canary import Stage
from tests.pages.conftest import signed_in
from tests.payment import buy, deliver
from tests.stripe_sandbox import StripeSandbox

KEY = "sk_test_CANARYKEYCANARYKEY"
SECRET = "whsec_CANARYSECRETCANARYSECRET"


@pytest.fixture
def stage(
    subscriber: Person, stripe_here: StripeSandbox, settings: Any, tmp_path: Any
) -> Iterator[Stage]:
    """A subscriber with use to report, and then secrets that the sandbox does not know."""
    buy(subscriber)
    batching.seal()
    written = io.StringIO()
    handlers = handlers_writing_to(written)
    talking = {"level": "DEBUG", "handlers": list(handlers)}
    root = logging.getLogger()
    before = root.handlers[:], root.level
    loud: dict[str, Any] = configured.LOGGING
    logging.config.dictConfig(loud | {"handlers": handlers, "root": talking})
    settings.STRIPE_SECRET_KEY = KEY
    settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_THIN_WEBHOOK_SECRET = SECRET
    yield Stage(subscriber, KEY, is_known=False, settings=settings, folder=tmp_path, log=written)
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def use_is_refused(stage: Stage, _sandbox: StripeSandbox) -> None:
    sending.send_due()
    assert SendingPause.objects.exists()


def stripe_is_away(stage: Stage, _sandbox: StripeSandbox) -> None:
    stage.settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    sending.send_due()


def a_look_is_refused(stage: Stage, _sandbox: StripeSandbox) -> None:
    with pytest.raises(GatewayError):
        syncing.sync(syncing.get_or_create(stage.person.organization))


def an_event_cannot_be_worked_on(stage: Stage, sandbox: StripeSandbox) -> None:
    row = syncing.get_or_create(stage.person.organization)
    sandbox.client().v1.subscriptions.update(row.subscription_id, {"cancel_at_period_end": True})
    stage.settings.STRIPE_WEBHOOK_SECRET = sandbox.webhook_secret
    assert deliver(sandbox)
    assert WebhookEvent.objects.filter(done_at=None).exists()


def a_webhook_is_not_believed(stage: Stage, sandbox: StripeSandbox) -> None:
    for header in ("", "t=1,v1=x", f"t=1,v1={SECRET}", SECRET):
        answer = Client().post(
            "/webhooks/stripe",
            b'{"object": "event"}',
            content_type="application/json",
            headers={"Stripe-Signature": header},
        )
        assert answer.status_code == 400
        stage.answers.append(answer)


def pages_say_that_it_does_not_work(stage: Stage, _sandbox: StripeSandbox) -> None:
    client = signed_in(stage.person)
    for method, page in (("post", "subscribe"), ("post", "portal"), ("get", "invoices")):
        ask = getattr(client, method)
        stage.answers.append(ask(f"/dashboard/billing/{page}", {"limit": "5"}, follow=True))


def the_checks_complain(stage: Stage, _sandbox: StripeSandbox) -> None:
    stage.settings.STRIPE_SANDBOX = False
    stage.settings.STRIPE_WEBHOOK_SECRET = SECRET.replace("whsec_", "we_")
    for message in checks.stripe_settings():
        logging.getLogger("django").error("%s", message)


@pytest.mark.parametrize(
    "path",
    [
        use_is_refused,
        stripe_is_away,
        a_look_is_refused,
        an_event_cannot_be_worked_on,
        a_webhook_is_not_believed,
        pages_say_that_it_does_not_work,
        the_checks_complain,
    ],
)
def test_no_secret_of_stripes_leaves_a_trace(
    stage: Stage, stripe_here: StripeSandbox, path: Callable[[Stage, StripeSandbox], None]
) -> None:
    path(stage, stripe_here)
    notices.send_due()
    assert stage.log.getvalue() or stage.answers
    assert stage.find("CANARYKEY", "CANARYSECRET") == []


def test_a_secret_would_be_found(stage: Stage) -> None:
    # Without what the log's filter would know it by.
    logging.getLogger("billing").error("with %s", KEY[-12:])
    notices.note("sending_paused", subject="1", detail=SECRET)
    assert set(stage.find("CANARYKEY", "CANARYSECRET")) >= {"log", "billing_notice.facts"}
