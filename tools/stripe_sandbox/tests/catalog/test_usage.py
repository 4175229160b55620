"""Meter events, their sums, and what becomes of those that cannot be counted."""

import threading
import time
from typing import Any

import pytest
import stripe

from tools.stripe_sandbox.tests.conftest import Shop, refusal


def summary(shop: Shop, **more: Any) -> list[Any]:
    minute = int(time.time()) // 60 * 60
    params = {
        "customer": shop.customer.id,
        "start_time": minute - 3600,
        "end_time": minute + 60,
    }
    return shop.api.billing.meters.event_summaries.list(shop.meter.id, params | more).data


def test_events_add_up_to_one_sum(shop: Shop) -> None:
    for value in (1, 20, 300):
        shop.use(value)
    (found,) = summary(shop)
    assert found.aggregated_value == 321.0
    assert shop.sandbox.usage()["totals"] == {shop.customer.id: {"images": 321}}


def test_windows_divide_the_sum_and_must_fit_their_unit(shop: Shop) -> None:
    hour = int(time.time()) // 3600 * 3600
    shop.use(3, timestamp=hour - 1)
    shop.use(4, timestamp=hour)
    window = {"start_time": hour - 7200, "end_time": hour + 3600, "value_grouping_window": "hour"}
    assert [each.aggregated_value for each in summary(shop, **window)] == [4.0, 3.0]
    with refusal(param="start_time"):
        summary(shop, **window | {"start_time": hour - 60})
    with refusal(param="end_time"):
        summary(shop, end_time=hour + 61)


def test_an_identifier_counts_once(shop: Shop) -> None:
    shop.use(5, identifier="same")
    with refusal(text="an event already exists with identifier same") as caught:
        shop.use(5, identifier="same")
    assert caught.value.http_status == 400
    assert caught.value.headers["stripe-should-retry"] == "false"
    assert shop.sandbox.usage()["events"] == 1


@pytest.mark.parametrize("value", ["", "-1", "1.5", "one", "\u0661", "1" * 16])
def test_values_are_whole_numbers(shop: Shop, value: str) -> None:
    with refusal(param="payload[value]"):
        shop.use(value)


@pytest.mark.parametrize("seconds", [-35 * 86_400 - 60, 360])
def test_timestamps_are_neither_too_old_nor_ahead(shop: Shop, seconds: int) -> None:
    with refusal(param="timestamp"):
        shop.use(1, timestamp=int(time.time()) + seconds)


def test_a_second_call_for_customer_and_meter_waits_for_nobody(shop: Shop) -> None:
    shop.sandbox.fault("slow", path="meter_events$", seconds=0.5, times=1)
    first = threading.Thread(target=shop.use, args=(1,))
    first.start()
    while not shop.sandbox.faults()[0]["fired"]:
        time.sleep(0.01)
    with pytest.raises(stripe.RateLimitError) as caught:
        shop.use(1)
    assert caught.value.error.code == "lock_timeout"
    first.join()
    shop.use(1)
    assert shop.sandbox.usage() | {"totals": 0} == {
        "totals": 0,
        "events": 2,
        "overlaps": 1,
        "rejected": 0,
    }


def test_a_cancelled_event_counts_no_more(shop: Shop) -> None:
    shop.use(7, identifier="mistake")
    cancel = {"type": "cancel", "event_name": "images", "cancel": {"identifier": "mistake"}}
    shop.api.billing.meter_event_adjustments.create(cancel)
    assert summary(shop)[0].aggregated_value == 0
    cancel["cancel"] = {"identifier": "another"}
    with refusal(code="resource_missing"):
        shop.api.billing.meter_event_adjustments.create(cancel)


def thin_event(shop: Shop, kind: str) -> Any:
    """The thin event of that type, as its receiver reads it."""
    deadline = time.monotonic() + 5
    client = shop.sandbox.client()
    while time.monotonic() < deadline:
        for event in shop.sandbox.events():
            if event["type"] == kind:
                body, header = shop.sandbox.payload(event["id"])
                secret = shop.sandbox.webhook_secret
                return client.parse_event_notification(body, header, secret)
        time.sleep(0.05)
    raise AssertionError(f"there was no {kind}")


def test_rejected_events_are_reported_with_the_keys_of_their_requests(shop: Shop) -> None:
    shop.sandbox.fault("late_rejection", times=7, code="meter_event_invalid_value")
    for number in range(8):
        params: Any = {
            "event_name": "images",
            "payload": {"stripe_customer_id": shop.customer.id, "value": "10"},
        }
        shop.api.billing.meter_events.create(params, {"idempotency_key": f"key-{number}"})
    assert summary(shop)[0].aggregated_value == 10.0
    notice = thin_event(shop, "v1.billing.meter.error_report_triggered")
    assert isinstance(notice, stripe.events.V1BillingMeterErrorReportTriggeredEventNotification)
    assert notice.related_object.id == shop.meter.id
    (reason,) = notice.fetch_event().data.reason.error_types
    assert (reason.code, reason.error_count) == ("meter_event_invalid_value", 7)
    samples = [sample.request.identifier for sample in reason.sample_errors]
    assert samples == [f"key-{number}" for number in range(5)]


def test_usage_of_nobody_and_of_no_meter_is_accepted_and_reported(shop: Shop) -> None:
    shop.use(1, payload={"stripe_customer_id": "cus_none", "value": "1"})
    shop.use(1, event_name="nothing")
    notice = thin_event(shop, "v1.billing.meter.no_meter_found")
    assert notice.fetch_event().data.reason.error_types[0].code == "no_meter"
    report = thin_event(shop, "v1.billing.meter.error_report_triggered").fetch_event()
    assert report.data.reason.error_types[0].code == "meter_event_customer_not_found"
    assert shop.sandbox.usage() == {"totals": {}, "events": 2, "overlaps": 0, "rejected": 2}
