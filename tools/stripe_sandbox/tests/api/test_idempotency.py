"""Idempotency keys and faults: what is remembered, what is not, what is done without an answer."""

import threading
import time
from typing import Any

import pytest
import stripe

from tests.stripe_sandbox import StripeSandbox
from tools.stripe_sandbox.tests.conftest import Shop

KEY: Any = {"idempotency_key": "key-1"}


def test_the_same_request_is_answered_again_and_done_once(api: Any) -> None:
    first = api.customers.create({"email": "a@example.com"}, KEY)
    again = api.customers.create({"email": "a@example.com"}, KEY)
    assert first.id == again.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(api.customers.list().data) == 1


def test_another_request_under_the_key_is_refused(api: Any) -> None:
    api.customers.create({"email": "a@example.com"}, KEY)
    with pytest.raises(stripe.IdempotencyError):
        api.customers.create({"email": "b@example.com"}, KEY)
    with pytest.raises(stripe.IdempotencyError):
        api.products.create({"name": "a"}, KEY)


def test_a_key_is_in_use_while_its_request_runs(sandbox: StripeSandbox, api: Any) -> None:
    sandbox.fault("slow", path="customers", seconds=0.5, times=1)
    first = threading.Thread(target=api.customers.create, args=({}, KEY))
    first.start()
    while not sandbox.faults()[0]["fired"]:
        time.sleep(0.01)
    with pytest.raises(stripe.StripeError) as caught:
        api.customers.create({}, KEY)
    assert (caught.value.http_status, caught.value.error.code) == (409, "idempotency_key_in_use")
    first.join()
    assert api.customers.create({}, KEY).last_response.headers["Idempotent-Replayed"] == "true"


def test_a_stored_500_stays_under_its_key_and_nothing_was_done(shop: Shop) -> None:
    shop.sandbox.fault("500", path="meter_events$", times=1)
    params: Any = {
        "event_name": "images",
        "identifier": "one",
        "payload": {"stripe_customer_id": shop.customer.id, "value": "1"},
    }
    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            shop.api.billing.meter_events.create(params, KEY)
        assert caught.value.http_status == 500
    assert caught.value.headers["Idempotent-Replayed"] == "true"
    assert shop.sandbox.usage()["events"] == 0
    shop.api.billing.meter_events.create(params, {"idempotency_key": "key-2"})
    assert shop.sandbox.usage()["events"] == 1


@pytest.mark.parametrize(
    ("kind", "status"),
    [("500_unstored", 500), ("429", 429), ("409", 409), ("401", 401), ("403", 403), ("400", 400)],
)
def test_what_is_refused_before_the_work_is_not_remembered(
    sandbox: StripeSandbox, api: Any, kind: str, status: int
) -> None:
    sandbox.fault(kind, path="^/v1/customers", method="POST", times=1)
    with pytest.raises(stripe.StripeError) as caught:
        api.customers.create({}, KEY)
    assert caught.value.http_status == status
    assert "Idempotent-Replayed" not in api.customers.create({}, KEY).last_response.headers
    assert sandbox.faults()[0]["fired"] == 1


def test_a_refusal_by_the_work_is_remembered(api: Any) -> None:
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            api.prices.create({"product": "none", "currency": "usd", "unit_amount": 1}, KEY)
    assert caught.value.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(("kind", "made"), [("drop_before", 0), ("accept_then_drop", 1)])
def test_a_lost_answer_says_nothing_of_the_work(
    sandbox: StripeSandbox, api: Any, kind: str, made: int
) -> None:
    sandbox.fault(kind, path="customers", method="POST", times=1)
    with pytest.raises(stripe.APIConnectionError):
        api.customers.create({}, KEY)
    assert len(api.customers.list().data) == made
    api.customers.create({}, KEY)
    assert len(api.customers.list().data) == 1


def test_a_fault_after_the_work_is_remembered_like_one_before_it(
    sandbox: StripeSandbox, api: Any
) -> None:
    sandbox.fault("accept_then_500", path="customers", method="POST", times=1)
    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            api.customers.create({}, KEY)
    assert caught.value.headers["Idempotent-Replayed"] == "true"
    assert len(api.customers.list().data) == 1


def test_chance_is_the_same_for_the_same_seed(sandbox: StripeSandbox, api: Any) -> None:
    runs = []
    for _ in range(2):
        sandbox.clear_faults()
        sandbox.fault("429", method="GET", probability=0.5, seed=7)
        outcomes = []
        for _ in range(12):
            try:
                outcomes.append(len(api.customers.list().data))
            except stripe.RateLimitError:
                outcomes.append(429)
        runs.append(outcomes)
    assert runs[0] == runs[1] and 429 in runs[0] and 0 in runs[0]


def test_a_fault_that_does_not_exist_is_told(sandbox: StripeSandbox) -> None:
    with pytest.raises(AssertionError, match="No such fault"):
        sandbox.fault("earthquake")
