"""Payment methods: Stripe's test cards, each with what it is known to do."""

from dataclasses import dataclass

from tools.stripe_sandbox.state import documents
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.errors import Refused, absent
from tools.stripe_sandbox.state.store import Document, Transaction


@dataclass(frozen=True)
class TestCard:
    """`conduct`: pays, declines when it is attached, fails when it is charged, or wants its owner to be present."""

    token: str
    number: str
    conduct: str
    label: str

    @property
    def spaced(self) -> str:
        """The number as it is printed on a card."""
        return " ".join(self.number[place : place + 4] for place in range(0, 16, 4))


TEST_CARDS = [
    TestCard("pm_card_visa", "4242424242424242", "pays", "Works"),
    TestCard("pm_card_chargeDeclined", "4000000000000002", "declines", "Is declined now"),
    TestCard(
        "pm_card_chargeCustomerFail",
        "4000000000000341",
        "fails",
        "Works now, fails when an invoice is charged",
    ),
    TestCard(
        "pm_card_authenticationRequired",
        "4000002760003184",
        "asks",
        "Works now, each invoice needs a confirmation by its owner",
    ),
]
BY_NAME = {name: card for card in TEST_CARDS for name in (card.token, card.number)}


def test_card(name: str) -> TestCard:
    """The test card of that token or number.

    Raises:
        Refused: there is no such test card.
    """
    card = BY_NAME.get(name.replace(" ", ""))
    if card is None:
        raise Refused(
            "Your card number is incorrect: the sandbox takes test cards only.",
            code="incorrect_number",
            param="number",
            status=402,
            kind="card_error",
        )
    return card


def declined(code: str = "card_declined", *, keeps_work: bool = False) -> Refused:
    """The bank says no. `keeps_work`: the attempt left its traces on an invoice."""
    texts = {
        "card_declined": "Your card was declined.",
        "authentication_required": "Your card was declined. This transaction requires authentication.",
    }
    reason = {"card_declined": "generic_decline"}.get(code, code)
    return Refused(
        texts[code],
        code=code,
        status=402,
        kind="card_error",
        fields={"decline_code": reason},
        keeps_work=keeps_work,
    )


def attach(call: Call) -> Document:
    if "customer" not in call.params:
        raise absent("customer")
    customer = documents.existing(call.db, "customer", call.params["customer"], "customer")
    return attach_to(call.db, call.args["id"], customer["id"], param="id")


def attach_to(
    db: Transaction, name: str, customer: str, *, param: str = "payment_method"
) -> Document:
    """A card of the customer's own: a copy of the test card of that name, or the card that it names already."""
    if name not in BY_NAME:
        card = db.get("payment_method", name, param)
        if card["customer"] not in {None, customer}:
            raise Refused("This payment method belongs to another customer.", param=param)
        return card
    model = test_card(name)
    if model.conduct == "declines":
        raise declined()
    card = documents.new_object(
        "payment_method",
        "pm",
        allow_redisplay="unspecified",
        billing_details={"address": None, "email": None, "name": None, "phone": None},
        card={
            "brand": "visa",
            "checks": {"cvc_check": "pass"},
            "country": "US",
            "display_brand": "visa",
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": model.token[8:],
            "funding": "credit",
            "last4": model.number[-4:],
            "networks": {"available": ["visa"], "preferred": None},
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        customer=customer,
        type="card",
        _conduct=model.conduct,
    )
    return db.add(card, card["created"])


def of_customer(db: Transaction, key: str, customer: str, param: str) -> Document:
    """A card that is attached to that customer.

    Raises:
        Refused: it is not, or there is none.
    """
    card = db.get("payment_method", key, param)
    if card["customer"] != customer:
        raise Refused(
            "The customer does not have a payment method with the ID "
            f"{key}. The payment method must be attached to the customer.",
            code="resource_missing",
            param=param,
        )
    return card
