"""The comparison of requests with the types of Stripe's client."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.stripe_sandbox import StripeSandbox
from tools.stripe_sandbox.api import encoding, params, routes
from tools.stripe_sandbox.state.errors import Refused


def check(name: str, form: str) -> dict[str, Any]:
    return params.check(name, encoding.decode(form))


def test_brackets_become_nested_values_of_the_published_types() -> None:
    form = "mode=subscription&line_items[0][price]=price_1&line_items[1][price]=price_2&automatic_tax[enabled]=true&expand[]=customer&expires_at=17"
    assert check("checkout.SessionCreateParams", form) == {
        "mode": "subscription",
        "line_items": [{"price": "price_1"}, {"price": "price_2"}],
        "automatic_tax": {"enabled": True},
        "expand": ["customer"],
        "expires_at": 17,
    }


def test_list_indices_are_read_as_numbers() -> None:
    form = "&".join(f"items[{index}][price]=p{index}" for index in range(12))
    found = check("SubscriptionCreateParams", form)["items"]
    assert [item["price"] for item in found] == [f"p{index}" for index in range(12)]


@pytest.mark.parametrize(
    ("name", "form", "code", "param"),
    [
        ("CustomerCreateParams", "emial=a", "parameter_unknown", "emial"),
        ("CustomerCreateParams", "address[zip]=1", "parameter_unknown", "address[zip]"),
        ("CustomerCreateParams", "api_key=sk_1", "parameter_unknown", "api_key"),
        ("billing.MeterEventCreateParams", "event_name=x", "parameter_missing", "payload"),
        (
            "billing.MeterCreateParams",
            "display_name=a&event_name=b&default_aggregation[x]=1",
            "parameter_unknown",
            "default_aggregation[x]",
        ),
        ("SubscriptionListParams", "limit=ten", "parameter_invalid_integer", "limit"),
        ("SubscriptionListParams", "limit=1_0", "parameter_invalid_integer", "limit"),
        ("SubscriptionListParams", f"limit={'9' * 30}", "parameter_invalid_integer", "limit"),
        ("SubscriptionCancelParams", "invoice_now=yes", "parameter_invalid", "invoice_now"),
        ("PriceCreateParams", "currency=usd&unit_amount_decimal=1,5", "parameter_invalid", None),
        ("PriceCreateParams", "currency=usd&unit_amount_decimal=NaN", "parameter_invalid", None),
        ("checkout.SessionCreateParams", "mode=gift", "parameter_invalid", "mode"),
        ("CustomerCreateParams", "email=", "parameter_invalid_empty", "email"),
        ("CustomerCreateParams", "email[0]=a", "parameter_invalid", "email"),
        ("CustomerCreateParams", "metadata[a][b]=c", "parameter_invalid", "metadata[a]"),
        ("SubscriptionCreateParams", "items=none", "parameter_invalid", "items"),
        ("SubscriptionCreateParams", "items[a][price]=b", "parameter_invalid", "items"),
        ("SubscriptionCreateParams", "items[0][pirce]=b", "parameter_unknown", "items[0][pirce]"),
    ],
)
def test_what_the_types_do_not_allow_is_refused_by_name(
    name: str, form: str, code: str, param: str | None
) -> None:
    with pytest.raises(Refused) as caught:
        check(name, form)
    assert caught.value.code == code
    assert param is None or caught.value.param == param


def test_an_empty_text_unsets_only_where_the_type_says_so() -> None:
    assert check("CustomerUpdateParams", "metadata=&address=") == {"metadata": "", "address": ""}


def test_values_of_metadata_may_be_empty() -> None:
    assert check("CustomerCreateParams", "metadata[a]=") == {"metadata": {"a": ""}}


def test_decimals_stay_exact() -> None:
    form = "currency=usd&unit_amount_decimal=0.123456789012"
    assert check("PriceCreateParams", form)["unit_amount_decimal"] == "0.123456789012"


@pytest.mark.parametrize("form", ["a[b=1", "[a]=1", "a=1&a[b]=2", "a[b]=2&a=1", "a]b=1"])
def test_names_that_are_none_are_refused(form: str) -> None:
    with pytest.raises(Refused):
        encoding.decode(form)


def test_every_route_has_a_published_type_that_knows_its_parameters() -> None:
    for route in routes.ROUTES:
        assert set(route.knows) <= set(params.published(route.params).__annotations__) | {"created"}


def test_the_server_counts_what_it_refused(sandbox: StripeSandbox) -> None:
    body = urllib.parse.urlencode({"emial": "a"}).encode()
    headers = {"Authorization": f"Bearer {sandbox.key}"}
    request = urllib.request.Request(f"{sandbox.base_url}/v1/customers", body, headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert json.load(caught.value)["error"]["param"] == "emial"
    assert sandbox.requests() == {
        "requests": {"POST /v1/customers": 1},
        "refused": 1,
        "refusals": ["POST /v1/customers: Received unknown parameter: emial"],
    }


def test_a_parameter_on_which_nothing_acts_is_refused_not_ignored(api: Any) -> None:
    from tools.stripe_sandbox.tests.conftest import refusal

    with refusal(code="parameter_unknown", param="balance", text="does not act"):
        api.customers.create({"balance": -500})
