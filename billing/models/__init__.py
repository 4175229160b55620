"""The tables of billing: spending (`money`, `ledger`), trial credit (`trial`), payment (`payment`), use (`usage`),
invoices (`invoices`), sums and checks of the books (`books`), mails (`mail`).
"""

from billing.models.books import BooksCheck, ClosedMonth, UsageHour
from billing.models.invoices import Invoice, InvoiceLine, InvoiceQuerySet
from billing.models.ledger import LedgerEntry, LedgerQuerySet
from billing.models.mail import OutgoingMail
from billing.models.money import (
    AppendOnly,
    AppendOnlyQuerySet,
    Budget,
    BudgetQuerySet,
    Credit,
    Hold,
    HoldQuerySet,
    Immutable,
    Price,
    SpendAlert,
)
from billing.models.payment import (
    CreationKey,
    MeteredPrice,
    Notice,
    Refund,
    StripeObject,
    Subscription,
    SubscriptionItem,
    WebhookEvent,
)
from billing.models.trial import Trial, TrialNetwork
from billing.models.usage import SendingPause, UsageAttempt, UsageBatch, UsageBatchQuerySet

__all__ = [
    "AppendOnly",
    "AppendOnlyQuerySet",
    "BooksCheck",
    "Budget",
    "BudgetQuerySet",
    "ClosedMonth",
    "CreationKey",
    "Credit",
    "Hold",
    "HoldQuerySet",
    "Immutable",
    "Invoice",
    "InvoiceLine",
    "InvoiceQuerySet",
    "LedgerEntry",
    "LedgerQuerySet",
    "MeteredPrice",
    "Notice",
    "OutgoingMail",
    "Price",
    "Refund",
    "SendingPause",
    "SpendAlert",
    "StripeObject",
    "Subscription",
    "SubscriptionItem",
    "Trial",
    "TrialNetwork",
    "UsageAttempt",
    "UsageBatch",
    "UsageBatchQuerySet",
    "UsageHour",
    "WebhookEvent",
]
