"""What each kind of ledger entry is called on statements."""

from billing.models import LedgerEntry

Kind = LedgerEntry.Kind

WORDS: dict[str, str] = {
    Kind.GRANT: "Credit",
    Kind.CAPTURE: "Images",
    Kind.REFUND: "Refund",
    Kind.PAYMENT: "Payment by card",
    Kind.PAYOUT: "Sent back to the card",
    Kind.FEE: "Stripe's fee",
    Kind.DISPUTE: "Payment disputed",
    Kind.DISPUTE_WON: "Dispute won",
    Kind.DISPUTE_LOST: "Dispute lost",
    Kind.WRITE_OFF: "Written off",
    Kind.WRITE_OFF_PAID: "Paid after it was written off",
    Kind.ROUNDING: "Rounding to the cent",
    Kind.TAX: "Tax",
    Kind.OTHER: "Other lines of an invoice",
}


PAID_ELSEWHERE = "Paid outside Stripe"


def words_of(entry: LedgerEntry) -> str:
    """The kind of the entry, and its reason where it has one."""
    if entry.kind == Kind.PAYMENT and entry.debit == LedgerEntry.Account.OTHER:
        return PAID_ELSEWHERE
    words = WORDS[entry.kind]
    return f"{words}: {entry.reason}" if entry.reason else words
