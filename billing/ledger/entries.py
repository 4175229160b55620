"""The door to the ledger for all but captures and grants, whose transactions write their entries themselves.

It keeps the running total of what each organization owes, and records what happened at Stripe once.
"""

from django.db import transaction

from accounts.models import Organization
from billing.ledger import budgets
from billing.models import Hold, Invoice, LedgerEntry

Account = LedgerEntry.Account


@transaction.atomic
def post(
    *,
    organization: Organization | int,
    kind: LedgerEntry.Kind,
    debit: Account,
    credit: Account,
    amount_micros: int,
    reference: str | None = None,
    reason: str = "",
    hold: Hold | None = None,
    invoice: Invoice | None = None,
) -> LedgerEntry | None:
    """Write one transfer; one of a negative amount is the opposite one, and of nothing there is none.

    Args:
        organization: Whose money it is, or its id.
        kind: What it records.
        debit: The account that is debited.
        credit: The account that is credited.
        amount_micros: In micro-dollars.
        reference: Names what it records; what was recorded under it before is not written again.
        reason: Read by staff and by the organization.
        hold: The image that it is about.
        invoice: The invoice that it is about.

    Returns:
        The entry; None where there is nothing to write, or the reference was recorded before.
    """
    if amount_micros < 0:
        debit, credit, amount_micros = credit, debit, -amount_micros
    if not amount_micros:
        return None
    organization_id = organization if isinstance(organization, int) else organization.pk
    # One writer of an organization at a time, so that a reference is looked up and written at once.
    Organization.objects.select_for_update(no_key=True).get(pk=organization_id)
    if reference and LedgerEntry.objects.filter(reference=reference).exists():
        return None
    entry = LedgerEntry.objects.create(
        organization_id=organization_id,
        kind=kind,
        debit=debit,
        credit=credit,
        amount_micros=amount_micros,
        reference=reference,
        reason=reason,
        hold=hold,
        invoice=invoice,
    )
    owed = (debit == Account.RECEIVABLE) - (credit == Account.RECEIVABLE)
    if owed:
        budgets.owe(organization=organization_id, micros=owed * amount_micros)
    return entry
