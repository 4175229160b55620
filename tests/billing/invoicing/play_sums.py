"""What must be true in the play: after each invoice that became final, and once everything is quiet."""

from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from billing.amounts import MICROS_PER_CENT
from billing.invoicing import claiming, comparing
from billing.ledger.usage import Period
from billing.models import Budget, Hold, Invoice, InvoiceLine, LedgerEntry, Refund, UsageBatch
from billing.payments import trial_balance
from ecohash import reconcile
from tests.billing.invoicing.play_world import World


def check_new_invoices(world: World) -> None:
    """Each invoice that became final since the last look says what its batches say, and what Stripe says."""
    new = Invoice.objects.final().exclude(pk__in=world.seen)
    if not new.exists():
        return
    at_stripe = {each["id"]: each for each in world.documents("invoice")}
    for invoice in new:
        check_invoice(invoice, at_stripe[str(invoice.stripe_id)])
        world.seen.add(invoice.pk)
    check_ledger()


def check_invoice(invoice: Invoice, at_stripe: dict[str, Any]) -> None:
    """One final invoice."""
    billed = 0
    for line in invoice.lines.select_related("price"):
        images = line.batches.aggregate(sum=Sum("quantity"))["sum"] or 0
        assert line.quantity == images, (invoice, line)
        assert line.claimed_cents == rounded(images * line.price.amount_micros), (invoice, line)
        billed += line.billed_cents
    assert at_stripe["total"] == invoice.total_cents, invoice
    assert billed + invoice.other_cents + invoice.tax_cents == invoice.total_cents, invoice
    assert billed == sum(of_ours(at_stripe).values()), invoice
    if invoice.kind == Invoice.Kind.PERIOD:
        late = UsageBatch.objects.filter(
            invoice_line__invoice=invoice, last_captured_at__gte=invoice.period_end
        )
        assert not late.exists(), invoice


def rounded(micros: int) -> int:
    """In cents, half up; written here once more, so that a fault of the product's is seen."""
    cents, rest = divmod(micros, MICROS_PER_CENT)
    return cents + (2 * rest >= MICROS_PER_CENT)


def of_ours(at_stripe: dict[str, Any]) -> Counter[str]:
    """Cents of lines that a meter or a correction of ours made."""
    cents: Counter[str] = Counter()
    for line in at_stripe["lines"]["data"]:
        corrects = (line.get("metadata") or {}).get("ecohash_price")
        if corrects or line["parent"]["type"] == "subscription_item_details":
            cents[corrects or "meter"] += line["amount"]
    return cents


def check_ledger() -> None:
    """Debits are credits, and what customers owe by the ledger is what admission reads."""
    today = timezone.now().date()
    month = Period(today.replace(day=1), today + timedelta(days=1))
    faults = trial_balance.of(month).faults
    assert not faults, faults


def check_end(world: World) -> None:
    """After two quiet months nothing is left over."""
    check_batches()
    check_lines(world)
    check_owed(world)
    check_ledger()
    found = [*reconcile.differences(), *comparing.compare()]
    assert not found, found


def check_batches() -> None:
    """Each capture lies in one batch, and each batch is billed or written off once."""
    paid = Hold.objects.filter(state="captured", payer="subscription")
    assert not paid.filter(usage_batch=None).exists(), "an image is in no batch"
    assert not UsageBatch.objects.unclaimed().exists(), [
        (str(each), each.organization.name, each.last_captured_at)
        for each in UsageBatch.objects.unclaimed()
    ]
    images = UsageBatch.objects.aggregate(sum=Sum("quantity"))["sum"] or 0
    assert images == paid.count()


def check_lines(world: World) -> None:
    """What final invoices bill is what they claim, by our rows and by Stripe's."""
    at_stripe: Counter[int] = Counter()
    for each in world.documents("invoice"):
        if each["status"] not in {"draft", "void"}:
            at_stripe[world.customers[each["customer"]]] += sum(of_ours(each).values())
    assert not Invoice.objects.drafts().exclude(kind="manual").exists(), [
        (str(each), each.kind, each.note) for each in Invoice.objects.drafts()
    ]
    for person in world.people:
        lines = InvoiceLine.objects.filter(
            invoice__organization=person.organization, invoice__finalized_at__isnull=False
        )
        kept = [line for line in lines if line.invoice.status != "void"]
        void = [line for line in lines if line.invoice.status == "void"]
        billed = sum(line.billed_cents for line in kept)
        there = at_stripe[person.organization.pk]
        assert billed == there, (person.organization, billed, there)
        # What a void invoice carried is lost with it; what it billed wrongly may have been carried before.
        lost = sum(line.carried_cents + bool(line.carried_by) * line.error_cents for line in void)
        lost += written_off(kept)
        left = sum(line.error_cents for line in claiming.uncarried(person.organization.pk))
        row = world.row(person)
        assert left == 0 or row is None or not row.customer_id, (person.organization, left)
        claimed = sum(line.claimed_cents for line in kept)
        assert billed - claimed == left - lost, (
            person.organization,
            {"billed": billed, "claimed": claimed, "left": left, "lost": lost},
        )


def written_off(lines: list[InvoiceLine]) -> int:
    """Cents that these lines bill too little and that no invoice could make good."""
    names = [claiming.write_off_of(line) for line in lines]
    entries = LedgerEntry.objects.filter(reference__in=names)
    cents = sum(entry.amount_micros * (-1 if entry.credit == "losses" else 1) for entry in entries)
    return cents // MICROS_PER_CENT


def check_owed(world: World) -> None:
    """What each organization owes by the ledger is what Stripe still asks for, and keeps as its balance."""
    open_cents: defaultdict[int, int] = defaultdict(int)
    for each in world.documents("invoice"):
        if each["status"] == "open":
            open_cents[world.customers[each["customer"]]] += each["amount_remaining"]
    for each in world.documents("customer"):
        if each["id"] in world.customers:
            open_cents[world.customers[each["id"]]] += each["balance"]
    for person in world.people:
        pk = person.organization.pk
        waiting = Refund.objects.filter(organization=pk, done_at=None)
        expected = open_cents[pk] - (waiting.aggregate(sum=Sum("cents"))["sum"] or 0)
        expected -= sum(line.error_cents for line in claiming.uncarried(pk))
        owed = Budget.objects.filter(organization=pk, api_key=None).aggregate(s=Sum("owed_micros"))
        found = (owed["s"] or 0) / MICROS_PER_CENT
        assert found == expected, (person.organization, found, expected, open_cents[pk])
    paid = sum(each["net"] for each in world.documents("balance_transaction"))
    entries = LedgerEntry.objects
    came = entries.filter(debit="stripe").aggregate(sum=Sum("amount_micros"))["sum"] or 0
    went = entries.filter(credit="stripe").aggregate(sum=Sum("amount_micros"))["sum"] or 0
    assert came - went == paid * MICROS_PER_CENT, ((came - went) / MICROS_PER_CENT, paid)
