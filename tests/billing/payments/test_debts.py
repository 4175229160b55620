"""What customers owe stands in one list, by how far it has come on its way to being paid."""

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from billing import refunds
from billing.ledger import entries
from billing.models import Invoice, InvoiceLine, LedgerEntry, UsageBatch
from billing.payments import debts
from tests.cast import Person, make_owner
from tests.payment import buy, make_subscriber, seal_all
from tests.stripe_sandbox import StripeSandbox


def invoiced(person: Person, status: str, cents: int, days: int, paid: int = 0) -> Invoice:
    """An invoice that became final so many days ago; its use stands in the ledger."""
    entries.post(
        organization=person.organization,
        kind=LedgerEntry.Kind.OTHER,
        debit=LedgerEntry.Account.RECEIVABLE,
        credit=LedgerEntry.Account.OTHER,
        amount_micros=(cents - paid) * 10_000 if status == "open" else 0,
    )
    return Invoice.objects.create(
        organization=person.organization,
        kind="period",
        stripe_id=f"in_{Invoice.objects.count()}",
        customer_id="cus_1",
        status=status,
        finalized_at=timezone.now() - timedelta(days=days),
        total_cents=cents,
        due_cents=cents,
        paid_cents=paid,
    )


def test_a_debt_is_split_by_where_it_stands(subscriber: Person, stripe_here: StripeSandbox) -> None:
    [drafted] = buy(subscriber, "1024x1024")
    [batch] = seal_all()
    draft = Invoice.objects.create(
        organization=subscriber.organization,
        kind="period",
        stripe_id="in_draft",
        customer_id="cus_1",
    )
    line = InvoiceLine.objects.create(invoice=draft, price=drafted.price, quantity=1)
    UsageBatch.objects.filter(pk=batch.pk).update(invoice_line=line)
    buy(subscriber, "512x512", 2)
    seal_all()
    buy(subscriber, "512x512")
    for days, cents in ((1, 100), (29, 10), (31, 200), (61, 400), (300, 1_000)):
        invoiced(subscriber, "open", cents, days)
    invoiced(subscriber, "open", 50, 2, paid=20)
    invoiced(subscriber, "uncollectible", 7_000, 90)
    invoiced(subscriber, "paid", 9_000, 90, paid=9_000)
    refunds.refund_image(hold=drafted, reason="Black", by="staff")
    with CaptureQueriesContext(connection) as queries:
        [debt] = debts.debts()
    assert len(queries) == 6
    assert debt.organization == subscriber.organization
    assert debt.not_invoiced_micros == 3 * 10_000
    assert debt.on_drafts_micros == 20_000
    assert debt.open_30_micros == (100 + 10 + 30) * 10_000
    assert debt.open_60_micros == 2_000_000
    assert debt.open_older_micros == 14_000_000
    assert debt.uncollectible_micros == 70_000_000
    assert debt.other_micros == -20_000
    assert debt.owed_micros == 30_000 + 20_000 + 17_400_000 - 20_000


def test_who_owes_most_comes_first_and_who_owes_nothing_is_left_out(
    subscriber: Person, stripe_here: StripeSandbox, alice: Person
) -> None:
    tom = make_subscriber("Tom", stripe_here)
    make_owner("Nobody", credit_micros=0)
    buy(subscriber)
    buy(tom, images=2)
    assert [debt.organization for debt in debts.debts()] == [
        tom.organization,
        subscriber.organization,
    ]


def test_the_command_lists_them_and_their_sum(
    subscriber: Person, stripe_here: StripeSandbox, capsys: Any
) -> None:
    tom = make_subscriber("Tom", stripe_here)
    buy(subscriber)
    buy(tom, images=2)
    call_command("debts")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[-8:-6] for line in lines[1:]] == [
        ["$0.020", "$0.020"],
        ["$0.010", "$0.010"],
        ["$0.030", "$0.030"],
    ]
    call_command("debts", "--json")
    [first, _] = json.loads(capsys.readouterr().out)
    assert (first["organization"], first["owed_micros"]) == (tom.organization.pk, 20_000)


def test_the_admin_lists_them_to_staff_who_may_see_budgets(
    subscriber: Person, client: Client
) -> None:
    buy(subscriber)
    subscriber.user.is_staff = True
    subscriber.user.save()
    client.force_login(subscriber.user)
    address = reverse("admin:billing_debts")
    assert client.get(address).status_code == 403
    subscriber.user.user_permissions.add(Permission.objects.get(codename="view_budget"))
    assert address in client.get(reverse("admin:billing_budget_changelist")).content.decode()
    page = client.get(address).content.decode()
    assert subscriber.organization.name.replace("'", "&#x27;") in page
    assert page.count("<td>$0.010</td>") == 4
