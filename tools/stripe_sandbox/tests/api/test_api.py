"""The gate of the API: keys, addresses, ids of requests, lists, expansion."""

from typing import Any

import pytest
import stripe

from tests.stripe_sandbox import StripeSandbox
from tools.stripe_sandbox.tests.conftest import Shop, refusal


@pytest.mark.parametrize("key", ["sk_test_other", "x"])
def test_another_key_is_refused(sandbox: StripeSandbox, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key"):
        sandbox.client(key).v1.customers.list()


def test_an_address_that_it_does_not_know_is_told_as_stripe_does(api: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL") as caught:
        api.coupons.list()
    assert caught.value.http_status == 404


def test_answers_carry_the_id_of_the_request_and_echo_the_version(
    sandbox: StripeSandbox, api: Any
) -> None:
    answer = api.customers.create({}, {"stripe_version": "2026-10-28.endive"}).last_response
    assert answer.headers["Request-Id"].startswith("req_")
    assert answer.headers["Stripe-Version"] == "2026-10-28.endive"
    with refusal(code="resource_missing") as caught:
        api.customers.retrieve("cus_none")
    assert caught.value.request_id.startswith("req_")
    assert caught.value.http_status == 404


def test_lists_are_paged_in_both_directions(api: Any) -> None:
    made = [api.customers.create({"email": "a@example.com"}).id for _ in range(5)][::-1]
    first = api.customers.list({"limit": 2})
    assert [each.id for each in first.data] == made[:2] and first.has_more
    rest = api.customers.list({"starting_after": made[1], "limit": 3})
    assert [each.id for each in rest.data] == made[2:] and not rest.has_more
    before = api.customers.list({"ending_before": made[3], "limit": 2})
    assert [each.id for each in before.data] == made[1:3] and before.has_more
    assert [each.id for each in first.auto_paging_iter()] == made


@pytest.mark.parametrize("limit", [0, 101])
def test_a_page_has_one_to_a_hundred_entries(api: Any, limit: int) -> None:
    with refusal(param="limit"):
        api.customers.list({"limit": limit})


def test_ids_are_replaced_by_objects_where_that_is_asked_for(shop: Shop) -> None:
    shop.subscribe()
    params = {"customer": shop.customer.id, "expand": ["data.latest_invoice.customer"]}
    found = shop.api.subscriptions.list(params).data[0]
    assert found.latest_invoice.customer.email == "alice@example.com"
    product = shop.api.products.create({"id": "own-id", "name": "own"})
    once = {"product": product.id, "currency": "usd", "unit_amount": 1, "expand": ["product"]}
    assert shop.api.prices.create(once).product.name == "own"
    for path in ("data.color", "data.status", "data.created.x", "data.status.x"):
        with refusal(text="cannot be expanded"):
            shop.api.subscriptions.list({"expand": [path]})


def test_a_page_of_another_site_can_do_nothing(sandbox: StripeSandbox) -> None:
    import urllib.error
    import urllib.request

    headers = {"Origin": "http://evil.test"}
    request = urllib.request.Request(
        f"{sandbox.base_url}/sandbox/reset", headers=headers, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)
