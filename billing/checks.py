"""System checks of the billing app: a wrong or missing Stripe setting shows at start, not at the first payment."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from billing.amounts import MICROS_PER_TENTH_OF_A_CENT, dollars
from billing.ledger.ceilings import LEAST_CHARGE_MICROS

SECRET_PREFIXES = ("sk_", "rk_")
TEST_PREFIXES = ("sk_test_", "rk_test_")


@register()
def stripe_settings(**_kwargs: Any) -> list[CheckMessage]:
    """billing.E001 to E006 and W001 to W003."""
    if settings.STRIPE_SANDBOX:
        return []
    return [*_key(), *_webhooks(), *_server()]


def _key() -> list[CheckMessage]:
    key = settings.STRIPE_SECRET_KEY
    if not key:
        if settings.STRIPE_API_BASE:
            return [
                Error(
                    "STRIPE_API_BASE is set and STRIPE_SECRET_KEY is not.",
                    hint="Set STRIPE_SECRET_KEY to a key of that server, or unset STRIPE_API_BASE.",
                    id="billing.E001",
                )
            ]
        return [
            Warning(
                "STRIPE_SECRET_KEY is not set, so nobody can add a card: only credit pays.",
                hint="Set it to the secret key of your Stripe account, or silence billing.W001.",
                id="billing.W001",
            )
        ]
    if not key.startswith(SECRET_PREFIXES):
        return [
            Error(
                "STRIPE_SECRET_KEY is no secret key of Stripe's.",
                hint="A secret key begins with sk_ and a restricted one with rk_; pk_ is the publishable one.",
                id="billing.E002",
            )
        ]
    if settings.PRODUCTION and key.startswith(TEST_PREFIXES):
        return [
            Warning(
                "STRIPE_SECRET_KEY is a test key: no real card will be charged.",
                hint="Set it to the live key (sk_live_ or rk_live_) before you sell.",
                id="billing.W002",
            )
        ]
    if not settings.PRODUCTION and not key.startswith(TEST_PREFIXES):
        return [
            Warning(
                "STRIPE_SECRET_KEY is a live key on a development machine: real cards are charged.",
                hint="Set it to a test key (sk_test_), or unset it to use the sandbox of this machine.",
                id="billing.W003",
            )
        ]
    return []


def _webhooks() -> list[CheckMessage]:
    secrets = {
        "STRIPE_WEBHOOK_SECRET": settings.STRIPE_WEBHOOK_SECRET,
        "STRIPE_THIN_WEBHOOK_SECRET": settings.STRIPE_THIN_WEBHOOK_SECRET,
    }
    if not settings.STRIPE_SECRET_KEY:
        return []
    if not secrets["STRIPE_WEBHOOK_SECRET"]:
        return [
            Error(
                "STRIPE_WEBHOOK_SECRET is not set, so no webhook can be believed and no payment is heard of.",
                hint=f"Make an endpoint for {settings.BASE_URL}/webhooks/stripe in Stripe's dashboard, and set "
                "STRIPE_WEBHOOK_SECRET to its signing secret (whsec_).",
                id="billing.E003",
            )
        ]
    return [
        Error(
            f"{name} is no signing secret of Stripe's.",
            hint="It begins with whsec_: copy it from the endpoint's page in Stripe's dashboard.",
            id="billing.E004",
        )
        for name, secret in secrets.items()
        if not secret.startswith("whsec_")
    ]


def _server() -> list[CheckMessage]:
    base = settings.STRIPE_API_BASE
    if not base:
        return []
    parts = urlsplit(base)
    found: list[CheckMessage] = []
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path:
        found.append(
            Error(
                "STRIPE_API_BASE is no address of a server.",
                hint="Give scheme, host and port alone, such as https://api.stripe.com, or unset it.",
                id="billing.E005",
            )
        )
    elif settings.PRODUCTION and parts.scheme != "https":
        found.append(
            Error(
                "STRIPE_API_BASE has no https, so the secret key would travel in the open.",
                hint="Unset it to reach Stripe itself; the sandbox is for development machines.",
                id="billing.E006",
            )
        )
    return found


@register()
def spending(**_kwargs: Any) -> list[CheckMessage]:
    """billing.E007 to E009: ceilings of unpaid use, and the spend limit that is proposed with a card."""
    chosen = settings.SPENDING
    found: list[CheckMessage] = []
    if chosen.unpaid_most_micros < chosen.unpaid_micros:
        found.append(
            Error(
                "UNPAID_LIMIT_MOST_MICROS is below UNPAID_LIMIT_MICROS, so payments would lower the ceiling.",
                hint="Set UNPAID_LIMIT_MOST_MICROS to at least UNPAID_LIMIT_MICROS.",
                id="billing.E007",
            )
        )
    interim = chosen.unpaid_micros * chosen.interim_percent // 100
    if interim < LEAST_CHARGE_MICROS:
        found.append(
            Error(
                f"INTERIM_INVOICE_PERCENT of UNPAID_LIMIT_MICROS is {dollars(interim)}, and Stripe charges no card "
                f"for less than {dollars(LEAST_CHARGE_MICROS)}: new cards would be stopped until the month is over.",
                hint="Raise UNPAID_LIMIT_MICROS or INTERIM_INVOICE_PERCENT.",
                id="billing.E008",
            )
        )
    if chosen.cap_micros % MICROS_PER_TENTH_OF_A_CENT:
        found.append(
            Error(
                "DEFAULT_SPEND_LIMIT_MICROS is no whole number of tenths of a cent, so the form that proposes it "
                "would refuse it.",
                hint="Round it to thousands of micro-dollars, such as 50000000 for $50.",
                id="billing.E009",
            )
        )
    return found
