"""Events, and their way to whoever listens."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe

from tests.stripe_sandbox import SECRET, StripeSandbox
from tools.stripe_sandbox.tests.conftest import Shop


class Listener(ThreadingHTTPServer):
    """Takes events; the first `failures` of them it refuses."""

    failures = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.taken: list[Any] = []
        self.refused = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/webhooks"

    def wait_for(self, count: int) -> list[str]:
        """The ids of what came, when so many did."""
        deadline = time.monotonic() + 10
        while len(self.taken) < count:
            assert time.monotonic() < deadline, self.taken
            time.sleep(0.02)
        return [event.id for event in self.taken]


class Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            fails = self.server.refused < self.server.failures
            self.server.refused += fails
            if not fails:
                signature = self.headers["Stripe-Signature"]
                self.server.taken.append(stripe.Webhook.construct_event(body, signature, SECRET))
        self.send_response(500 if fails else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: Any) -> None:
        pass


@pytest.fixture
def listener(sandbox: StripeSandbox) -> Iterator[Listener]:
    server = Listener()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    sandbox.delivery(url=None)
    server.shutdown()
    server.server_close()


def made(sandbox: StripeSandbox) -> list[str]:
    return [event["id"] for event in sandbox.events()]


def test_events_come_signed_and_in_order(
    sandbox: StripeSandbox, api: Any, listener: Listener
) -> None:
    sandbox.delivery(url=listener.url)
    for number in range(5):
        api.customers.create({"email": f"{number}@example.com"})
    assert listener.wait_for(5) == made(sandbox)
    event = listener.taken[0]
    assert (event.type, event.data.object.email) == ("customer.created", "0@example.com")
    assert event.request.id.startswith("req_")


def test_an_event_is_sent_until_it_is_taken(
    sandbox: StripeSandbox, api: Any, listener: Listener
) -> None:
    listener.failures = 2
    sandbox.delivery(url=listener.url)
    api.customers.create({})
    assert listener.wait_for(1) == made(sandbox)
    deadline = time.monotonic() + 5
    while sandbox.events(undelivered=True):
        assert time.monotonic() < deadline
    assert sandbox.events()[0]["attempts"] == 3


def test_events_can_come_twice_and_out_of_order(
    sandbox: StripeSandbox, api: Any, listener: Listener
) -> None:
    for _ in range(12):
        api.customers.create({})
    sandbox.delivery(url=listener.url, twice=True, shuffle=True)
    ids = made(sandbox)
    came = listener.wait_for(24)
    assert sorted(came) == sorted(ids * 2)
    assert came != [each for each in ids for _ in range(2)] and came[:12] != ids


def test_without_an_address_they_are_kept_for_a_test_to_take(shop: Shop) -> None:
    shop.subscribe()
    taken = shop.sandbox.undelivered()
    kinds = [json.loads(body)["type"] for body, _ in taken]
    assert kinds == [
        "customer.created",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "checkout.session.completed",
    ]
    for body, signature in taken:
        stripe.Webhook.construct_event(body, signature, shop.sandbox.webhook_secret)
    assert shop.sandbox.undelivered() == []


def test_events_show_nothing_that_only_the_sandbox_keeps(shop: Shop) -> None:
    shop.subscribe()
    bodies = [body for body, _ in shop.sandbox.undelivered()]
    assert any(b'"checkout.session"' in body for body in bodies)
    assert not any(b"_customer_update" in body for body in bodies)
