"""Meters: what counts how much of a product was used."""

from tools.stripe_sandbox.state import clock, documents
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Document


def create(call: Call) -> Document:
    """A meter that sums; an event name belongs to one meter."""
    params = call.params
    if params["default_aggregation"]["formula"] != "sum":
        raise Refused(
            "The sandbox only knows meters that sum.", param="default_aggregation[formula]"
        )
    mapping = {"type": "by_id", "event_payload_key": "stripe_customer_id"}
    value = {"event_payload_key": "value"}
    if (
        params.get("customer_mapping", mapping) != mapping
        or params.get("value_settings", value) != value
    ):
        raise Refused("The sandbox only knows the payload keys stripe_customer_id and value.")
    _check_event_name(call, params["event_name"])
    meter = documents.new_object(
        "billing.meter",
        "mtr_test_61",
        customer_mapping=mapping,
        default_aggregation=params["default_aggregation"],
        display_name=params["display_name"],
        event_name=params["event_name"],
        event_time_window=None,
        status="active",
        status_transitions={"deactivated_at": None},
        updated=clock.now(),
        value_settings=value,
    )
    del meter["metadata"]
    return call.db.add(meter, meter["created"])


def _check_event_name(call: Call, name: str) -> None:
    if call.db.find("billing.meter", event_name=name):
        raise Refused(
            f"An active meter already exists with event name '{name}'.", param="event_name"
        )


def listed(call: Call) -> Document:
    status = call.params.get("status")
    return documents.page(
        call.db, "billing.meter", call.params, "/v1/billing/meters", status=status
    )
