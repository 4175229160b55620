"""Every address of the API that this server knows, the type of its parameters, and who answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tools.stripe_sandbox.catalog import meters, prices, usage
from tools.stripe_sandbox.invoices import (
    balance_transactions,
    cards,
    disputes,
    invoice_items,
    invoice_states,
    invoices,
    payments,
    refunds,
)
from tools.stripe_sandbox.state import events
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Document
from tools.stripe_sandbox.subscriptions import (
    checkout,
    customers,
    portal,
    subscription_items,
    subscriptions,
)

PAGING = ("created", "limit", "starting_after", "ending_before")


@dataclass(frozen=True)
class Route:
    """`knows`: the parameters on which the handler acts. Another one of Stripe's is refused, not ignored."""

    method: str
    path: str
    params: str
    handler: Callable[[Call], Document]
    knows: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What an address of this route looks like."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))

    def check_known(self, checked: dict[str, Any]) -> None:
        """Refuse what would have no effect.

        Raises:
            Refused: a parameter is Stripe's, but this server does not act on it.
        """
        for name in checked:
            if name not in {*self.knows, "expand"}:
                raise Refused(
                    f"The sandbox does not act on this parameter: {name}",
                    code="parameter_unknown",
                    param=name,
                )


def listing(path: str, params: str, handler: Callable[[Call], Document], *knows: str) -> Route:
    """A list that can be paged through."""
    return Route("GET", path, params, handler, (*knows, *PAGING))


ROUTES = [
    # Products, prices and meters.
    Route("POST", "/v1/products", "ProductCreateParams", prices.create_product,
          ("id", *prices.PRODUCT)),
    Route("GET", "/v1/products/{id}", "ProductRetrieveParams", prices.retrieve_product),
    Route("POST", "/v1/prices", "PriceCreateParams", prices.create_price,
          (*prices.PRICE, "currency", "product", "recurring", "tax_behavior", "unit_amount",
           "unit_amount_decimal", "billing_scheme")),
    listing("/v1/prices", "PriceListParams", prices.list_prices,
            "active", "lookup_keys", "product", "currency", "type"),
    Route("POST", "/v1/billing/meters", "billing.MeterCreateParams", meters.create,
          ("customer_mapping", "default_aggregation", "display_name", "event_name", "value_settings")),
    listing("/v1/billing/meters", "billing.MeterListParams", meters.listed, "status"),
    listing("/v1/billing/meters/{id}/event_summaries", "billing.MeterListEventSummariesParams",
            usage.summaries, "customer", "start_time", "end_time", "value_grouping_window"),
    # Usage.
    Route("POST", "/v1/billing/meter_events", "billing.MeterEventCreateParams", usage.create,
          ("event_name", "payload", "identifier", "timestamp")),
    Route("POST", "/v1/billing/meter_event_adjustments", "billing.MeterEventAdjustmentCreateParams",
          usage.adjust, ("event_name", "type", "cancel")),
    # Customers and their cards.
    Route("POST", "/v1/customers", "CustomerCreateParams", customers.create,
          (*customers.PLAIN, "invoice_settings", "payment_method")),
    listing("/v1/customers", "CustomerListParams", customers.listed, "email"),
    Route("GET", "/v1/customers/{id}", "CustomerRetrieveParams", customers.retrieve),
    Route("POST", "/v1/customers/{id}", "CustomerUpdateParams", customers.update,
          (*customers.PLAIN, "invoice_settings")),
    Route("DELETE", "/v1/customers/{id}", "CustomerDeleteParams", customers.delete),
    Route("POST", "/v1/customers/{id}/balance_transactions", "CustomerBalanceTransactionCreateParams",
          customers.change_balance, ("amount", "currency", "description", "metadata")),
    listing("/v1/customers/{id}/balance_transactions", "CustomerBalanceTransactionListParams",
            customers.list_balance),
    Route("POST", "/v1/payment_methods/{id}/attach", "PaymentMethodAttachParams", cards.attach,
          ("customer",)),
    # Subscriptions.
    Route("POST", "/v1/subscriptions", "SubscriptionCreateParams", subscriptions.create,
          ("customer", "items", "default_payment_method", "metadata", "cancel_at_period_end",
           "description", "automatic_tax")),
    listing("/v1/subscriptions", "SubscriptionListParams", subscriptions.listed,
            "customer", "status"),
    Route("GET", "/v1/subscriptions/{id}", "SubscriptionRetrieveParams", subscriptions.retrieve),
    Route("POST", "/v1/subscriptions/{id}", "SubscriptionUpdateParams", subscriptions.update,
          ("cancel_at_period_end", "metadata", "default_payment_method", "description",
           "cancellation_details")),
    Route("DELETE", "/v1/subscriptions/{id}", "SubscriptionCancelParams", subscriptions.cancel,
          ("invoice_now", "prorate", "cancellation_details")),
    Route("POST", "/v1/subscription_items", "SubscriptionItemCreateParams", subscription_items.create,
          ("subscription", "price", "metadata", "quantity", "proration_behavior")),
    listing("/v1/subscription_items", "SubscriptionItemListParams", subscription_items.listed,
            "subscription"),
    Route("DELETE", "/v1/subscription_items/{id}", "SubscriptionItemDeleteParams",
          subscription_items.delete, ("clear_usage", "proration_behavior")),
    # The pages that Stripe hosts.
    Route("POST", "/v1/checkout/sessions", "checkout.SessionCreateParams", checkout.create,
          checkout.KNOWN),
    Route("GET", "/v1/checkout/sessions/{id}", "checkout.SessionRetrieveParams", checkout.retrieve),
    Route("POST", "/v1/checkout/sessions/{id}/expire", "checkout.SessionExpireParams",
          checkout.expire_now),
    Route("POST", "/v1/billing_portal/configurations", "billing_portal.ConfigurationCreateParams",
          portal.create_configuration,
          ("business_profile", "default_return_url", "features", "metadata", "name")),
    listing("/v1/billing_portal/configurations", "billing_portal.ConfigurationListParams",
            portal.list_configurations, "active", "is_default"),
    Route("POST", "/v1/billing_portal/sessions", "billing_portal.SessionCreateParams",
          portal.create_session, ("customer", "return_url", "configuration")),
    # Invoices.
    Route("POST", "/v1/invoices", "InvoiceCreateParams", invoices.create,
          ("customer", "auto_advance", "pending_invoice_items_behavior", "description", "metadata",
           "currency", "default_payment_method", "automatic_tax")),
    listing("/v1/invoices", "InvoiceListParams", invoices.listed, "customer", "subscription", "status"),
    Route("GET", "/v1/invoices/{id}", "InvoiceRetrieveParams", invoices.retrieve),
    Route("POST", "/v1/invoices/{id}", "InvoiceUpdateParams", invoice_states.update,
          ("auto_advance", "automatic_tax", "automatically_finalizes_at", "default_payment_method",
           "description", "metadata")),
    Route("DELETE", "/v1/invoices/{id}", "InvoiceDeleteParams", invoice_states.delete),
    Route("POST", "/v1/invoices/{id}/finalize", "InvoiceFinalizeInvoiceParams",
          invoice_states.finalize, ("auto_advance",)),
    Route("POST", "/v1/invoices/{id}/void", "InvoiceVoidInvoiceParams", invoice_states.void),
    Route("POST", "/v1/invoices/{id}/mark_uncollectible", "InvoiceMarkUncollectibleParams",
          invoice_states.mark_uncollectible),
    Route("POST", "/v1/invoices/{id}/pay", "InvoicePayParams", invoices.pay,
          ("payment_method", "off_session", "paid_out_of_band")),
    listing("/v1/invoices/{id}/lines", "InvoiceListLinesParams", invoices.list_lines),
    Route("POST", "/v1/invoiceitems", "InvoiceItemCreateParams", invoice_items.create,
          ("customer", "amount", "currency", "description", "invoice", "metadata", "price_data",
           "quantity", "unit_amount_decimal", "period")),
    listing("/v1/invoiceitems", "InvoiceItemListParams", invoice_items.listed,
            "customer", "invoice", "pending"),
    Route("GET", "/v1/invoiceitems/{id}", "InvoiceItemRetrieveParams", invoice_items.retrieve),
    Route("POST", "/v1/invoiceitems/{id}", "InvoiceItemUpdateParams", invoice_items.update,
          invoice_items.CHANGEABLE),
    Route("DELETE", "/v1/invoiceitems/{id}", "InvoiceItemDeleteParams", invoice_items.delete),
    # Money.
    listing("/v1/charges", "ChargeListParams", payments.list_charges, "customer", "payment_intent"),
    Route("GET", "/v1/charges/{id}", "ChargeRetrieveParams", payments.retrieve_charge),
    Route("GET", "/v1/payment_intents/{id}", "PaymentIntentRetrieveParams",
          payments.retrieve_intent),
    listing("/v1/invoice_payments", "InvoicePaymentListParams", payments.list_of_invoice,
            "invoice", "payment", "status"),
    listing("/v1/balance_transactions", "BalanceTransactionListParams", balance_transactions.listed,
            "currency", "source", "type"),
    Route("GET", "/v1/balance_transactions/{id}", "BalanceTransactionRetrieveParams",
          balance_transactions.retrieve),
    Route("POST", "/v1/refunds", "RefundCreateParams", refunds.create,
          ("charge", "payment_intent", "amount", "reason", "metadata")),
    listing("/v1/refunds", "RefundListParams", refunds.listed, "charge", "payment_intent"),
    Route("GET", "/v1/refunds/{id}", "RefundRetrieveParams", refunds.retrieve),
    listing("/v1/disputes", "DisputeListParams", disputes.listed, "charge", "payment_intent"),
    Route("GET", "/v1/disputes/{id}", "DisputeRetrieveParams", disputes.retrieve),
    Route("GET", "/v1/radar/early_fraud_warnings/{id}", "radar.EarlyFraudWarningRetrieveParams",
          disputes.retrieve_warning),
    # Events.
    listing("/v1/events", "EventListParams", events.listed, "type", "types", "delivery_success"),
    Route("GET", "/v1/events/{id}", "EventRetrieveParams", events.retrieve),
    Route("GET", "/v2/core/events/{id}", "v2.core.EventRetrieveParams", events.retrieve_thin),
]  # fmt: skip


def match(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The route of an address, and the ids in it.

    Raises:
        Refused: this server does not know the address, or not with this method.
    """
    for route in ROUTES:
        if route.method == method and (found := route.pattern.fullmatch(path)):
            return route, found.groupdict()
    raise Refused(
        f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the "
        "trailing slash. If you are trying to retrieve an object, make sure you passed a valid "
        "(non-empty) identifier in your code. Please see https://docs.stripe.com or we can help at "
        "https://support.stripe.com/.",
        status=404,
    )
