"""Invoices: a draft takes in usage, a finalized one never changes, an open one waits for its money."""

from tools.stripe_sandbox import settings
from tools.stripe_sandbox.invoices import balances, cards, lines, payments
from tools.stripe_sandbox.state import clock, documents, events, options
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document, Transaction

# Stripe charges no less: a smaller sum is carried over to the next invoice.
LEAST_CHARGE_CENTS = 50
# Final, and still to be paid by whoever wants to.
UNPAID = frozenset({"open", "uncollectible"})
# Members of a draft that are null, and that are 0, until something sets them.
UNSET = (
    *("default_payment_method", "description", "due_date", "effective_at", "ending_balance"),
    *("footer", "hosted_invoice_url", "invoice_pdf", "number"),
)
ZERO = (
    *("amount_due", "amount_overpaid", "amount_paid", "amount_remaining", "amount_shipping"),
    *("attempt_count", "subtotal", "total"),
)


def new_draft(
    customer: Document,
    *,
    reason: str,
    start: int,
    end: int,
    currency: str = "usd",
    subscription: Document | None = None,
    auto_advance: bool = True,
) -> Document:
    """A new draft, not yet kept, without lines."""
    invoice = documents.new_object("invoice", "in")
    key = invoice["id"]
    invoice |= {
        **dict.fromkeys(UNSET),
        **dict.fromkeys(ZERO, 0),
        "account_country": "US",
        "account_name": "EcoHash (sandbox)",
        "attempted": False,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "currency": currency,
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "discounts": [],
        "lines": documents.listing(f"/v1/invoices/{key}/lines", []),
        "parent": _parent(subscription) if subscription else None,
        "payments": documents.listing(f"/v1/invoice_payments?invoice={key}", []),
        "period_end": end,
        "period_start": start,
        "starting_balance": customer["balance"],
        "status": "draft",
        "status_transitions": dict.fromkeys(
            ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")
        ),
        "total_taxes": [],
    }
    advance_by_itself(invoice, wanted=auto_advance)
    return invoice


def advance_by_itself(invoice: Document, *, wanted: bool) -> None:
    """Whether a draft becomes final, and an open invoice is charged again, without being told to."""
    invoice |= {"auto_advance": wanted}
    if invoice["status"] == "draft":
        seconds = options.current().draft_seconds
        schedule(invoice, clock.exact() + seconds if wanted else None)
    else:
        pause = payments.RETRY_SECONDS if invoice["attempted"] else 0
        invoice["next_payment_attempt"] = clock.now() + pause if wanted else None


def schedule(invoice: Document, moment: float | None) -> None:
    """When a draft becomes final by itself, if ever."""
    if moment is not None and moment < clock.now():
        raise Refused(
            "The time to finalize an invoice cannot be in the past.",
            param="automatically_finalizes_at",
        )
    whole = None if moment is None else int(moment)
    invoice |= {"automatically_finalizes_at": whole, "next_payment_attempt": whole}
    invoice |= {"auto_advance": moment is not None, "_final_at": moment}


def _parent(subscription: Document) -> Document:
    """What an invoice says of the subscription that it bills."""
    return {
        "type": "subscription_details",
        "quote_details": None,
        "subscription_details": {
            "subscription": subscription["id"],
            "metadata": subscription["metadata"],
        },
    }


def draft_for_period(
    db: Transaction, subscription: Document, *, start: int, end: int, reason: str
) -> Document:
    """The draft of a period: a line for each metered item, and what waited for the next invoice.

    That of an unpaid subscription stays a draft until somebody finalizes it.
    """
    customer = db.get("customer", subscription["customer"])
    invoice = new_draft(
        customer,
        reason=reason,
        start=start,
        end=end,
        currency=subscription["currency"],
        subscription=subscription,
        auto_advance=subscription["status"] != "unpaid",
    )
    invoice["lines"]["data"] = [
        lines.of_usage(db, invoice, subscription, item) for item in subscription["items"]["data"]
    ]
    take_pending(db, invoice)
    return keep_new(db, invoice)


def take_pending(db: Transaction, invoice: Document) -> None:
    """Lines of invoice items that belong to no invoice yet."""
    for item in reversed(db.find("invoiceitem", customer=invoice["customer"], _pending=True)):
        item |= {"invoice": invoice["id"], "_pending": False, "_waited": True}
        db.save(item)
        invoice["lines"]["data"].append(lines.of_item(invoice["id"], item))


def keep_new(db: Transaction, invoice: Document) -> Document:
    """Keep a draft, and tell of it."""
    lines.measure(db, invoice)
    db.add(invoice, invoice["created"])
    events.emit(db, "invoice.created", invoice)
    return invoice


def current(db: Transaction, invoice: Document) -> Document:
    """The invoice as it is now: what a draft comes to changes with every meter event."""
    if invoice["status"] == "draft":
        lines.measure(db, invoice)
    return invoice


def tell(db: Transaction, invoice: Document, kind: str) -> Document:
    """Keep the invoice as it is now, and tell of it."""
    db.save(current(db, invoice))
    events.emit(db, kind, invoice)
    return invoice


def finalize(db: Transaction, invoice: Document, *, collect: bool) -> Document:
    """From here on nothing in it changes, and usage that comes later for its period is in no invoice.

    Raises:
        Refused: it is no draft.
    """
    if invoice["status"] != "draft":
        raise Refused(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )
    lines.measure(db, invoice)
    customer = db.get("customer", invoice["customer"])
    _number(db, invoice, customer)
    _apply_balance(db, invoice, customer)
    now = clock.now()
    url = f"{settings.BASE_URL}/invoices/{invoice['id']}"
    invoice |= {"status": "open", "effective_at": now, "automatically_finalizes_at": None}
    invoice |= {"hosted_invoice_url": url, "invoice_pdf": f"{url}/pdf"}
    invoice["next_payment_attempt"] = None
    invoice["status_transitions"]["finalized_at"] = now
    db.save(invoice)
    events.emit(db, "invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        payments.settle_without_charge(db, invoice)
    elif collect:
        payments.attempt(db, invoice)
    return invoice


def _number(db: Transaction, invoice: Document, customer: Document) -> None:
    sequence = customer["next_invoice_sequence"]
    invoice["number"] = f"{customer['invoice_prefix']}-{sequence:04}"
    db.save({**customer, "next_invoice_sequence": sequence + 1})
    customer["next_invoice_sequence"] = sequence + 1


def _apply_balance(db: Transaction, invoice: Document, customer: Document) -> None:
    """A credit lowers what is due, a debt raises it; less than the least charge becomes a debt."""
    starting = customer["balance"]
    due = max(0, invoice["total"] + starting)
    ending = min(0, invoice["total"] + starting)
    if 0 < due < LEAST_CHARGE_CENTS:
        due, ending = 0, due
    if ending != starting:
        balances.book(
            db,
            customer,
            ending - starting,
            kind="applied_to_invoice",
            currency=invoice["currency"],
            invoice=invoice["id"],
        )
    invoice |= {"starting_balance": starting, "ending_balance": ending}
    invoice |= {"amount_due": due, "amount_remaining": due}


def create(call: Call) -> Document:
    """An invoice without a subscription; pending invoice items come in when that is asked for."""
    params = call.params
    if "customer" not in params:
        raise absent("customer")
    customer = documents.existing(call.db, "customer", params["customer"], "customer")
    now = clock.now()
    invoice = new_draft(
        customer,
        reason="manual",
        start=now,
        end=now,
        currency=params.get("currency", "usd"),
        auto_advance=params.get("auto_advance", False),
    )
    if key := params.get("default_payment_method"):
        cards.of_customer(call.db, key, customer["id"], "default_payment_method")
    documents.update(invoice, params, "description", "metadata", "default_payment_method")
    invoice["automatic_tax"] |= params.get("automatic_tax", {})
    if params.get("pending_invoice_items_behavior") == "include":
        take_pending(call.db, invoice)
    return keep_new(call.db, invoice)


def retrieve(call: Call) -> Document:
    return current(call.db, call.db.get("invoice", call.args["id"]))


def pay(call: Call) -> Document:
    """Charge a card for it. A decline is an error, and what it did to the invoice stays."""
    invoice = retrieve(call)
    if invoice["status"] == "paid":
        raise Refused("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] not in {"draft", *UNPAID}:
        raise Refused(f"This invoice is {invoice['status']}.", code="invoice_not_editable")
    if invoice["status"] == "draft":
        invoice = finalize(call.db, invoice, collect=False)
    if invoice["status"] == "paid":
        return invoice
    if call.params.get("paid_out_of_band"):
        payments.settle_without_charge(call.db, invoice)
        return invoice
    card = None
    if key := call.params.get("payment_method"):
        card = cards.of_customer(call.db, key, invoice["customer"], "payment_method")
    present = not call.params.get("off_session", True)
    if code := payments.attempt(call.db, invoice, card=card, present=present):
        raise cards.declined(code, keeps_work=True)
    return invoice


def listed(call: Call) -> Document:
    params = call.params
    where = {
        "customer": params.get("customer"),
        "status": params.get("status"),
        "parent.subscription_details.subscription": params.get("subscription"),
    }
    found = documents.page(call.db, "invoice", params, "/v1/invoices", **where)
    found["data"] = [current(call.db, invoice) for invoice in found["data"]]
    return found


def list_lines(call: Call) -> Document:
    invoice = retrieve(call)
    url = f"/v1/invoices/{invoice['id']}/lines"
    return documents.page_of_parts(invoice["lines"]["data"], call.params, url)
