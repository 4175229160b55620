"""Events as they are listed for whoever missed them."""

from typing import Any

from tools.stripe_sandbox.tests.conftest import Shop, refusal

DAY = 86_400


def types(found: Any) -> list[str]:
    return [event.type for event in found.data]


def test_events_are_listed_the_newest_first_and_page_by_page(shop: Shop) -> None:
    shop.subscribe()
    found = shop.api.events.list({"limit": 2})
    assert found.has_more and found.data[0].data.object.object == "checkout.session"
    assert [each.type for each in found.auto_paging_iter()] == shop.kinds()[::-1]
    one = shop.api.events.retrieve(found.data[0].id)
    assert (one.type, one.created) == (found.data[0].type, found.data[0].created)


def test_events_are_filtered_by_type(shop: Shop) -> None:
    shop.subscribe()
    find = shop.api.events.list
    assert types(find({"type": "invoice.paid"})) == ["invoice.paid"]
    assert types(find({"type": "invoice.*"})) == [
        *("invoice.paid", "invoice.finalized", "invoice.created"),
    ]
    both = ["invoice.created", "customer.created"]
    assert types(find({"types": both})) == both
    assert types(find({"type": "charge.failed"})) == []
    with refusal(param="types"):
        find({"types": both, "type": "invoice.paid"})
    with refusal(param="types"):
        find({"types": [f"kind.{number}" for number in range(21)]})


def test_events_tell_whether_they_were_delivered(shop: Shop) -> None:
    shop.sandbox.undelivered()
    shop.api.customers.create({"name": "late"})
    (taken,) = shop.api.events.list({"delivery_success": True}).data
    (waiting,) = shop.api.events.list({"delivery_success": False}).data
    assert (taken.pending_webhooks, waiting.pending_webhooks) == (0, 1)
    assert waiting.data.object.name == "late"


def test_events_are_kept_for_thirty_days(shop: Shop) -> None:
    (first,) = shop.api.events.list().data
    shop.sandbox.advance(29 * DAY)
    assert shop.api.events.list({"created": {"lt": first.created + 1}}).data[0].id == first.id
    assert types(shop.api.events.list({"created": {"gt": first.created}})) == []
    shop.sandbox.advance(2 * DAY)
    assert shop.api.events.list().data == []
    with refusal(code="resource_missing"):
        shop.api.events.retrieve(first.id)
