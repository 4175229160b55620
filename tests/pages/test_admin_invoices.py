"""Invoices in the admin: from the invoice to its images and back, and what is wrong is found by a filter."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Hold, Invoice, InvoiceLine, LedgerEntry, UsageBatch
from images.models import Generation
from tests import statements as made
from tests.cast import Person
from tests.images import make
from tests.pages.admin import list_page, page_of, text
from tests.statements import MARCH, Account, Kind

DAY = timedelta(days=1)


def bill(person: Person, number: str, **fields: int) -> Invoice:
    """An invoice of two lines, of which the fields may make one wrong."""
    of = made.invoice(person, number)
    for size in ("512x512", "768x768"):
        made.claim(of, [made.batch(made.used(person, size, 2, MARCH + DAY))], **fields)
    made.close(of, paid=1)
    return of


def links(page: str, to: type) -> list[str]:
    found = re.findall(rf'href="({list_page(to)}[^"]*)"', page)
    return [unescape(link) for link in found if link != list_page(to)]


def test_from_the_invoice_to_its_images_and_back(alice: Person, staff: Client) -> None:
    job = make.succeeded(alice)
    Hold.objects.filter(pk=job.hold.pk).update(payer="subscription")
    job.hold.refresh_from_db()
    of = made.invoice(alice, "ECO-1")
    line = made.claim(of, [made.batch([job.hold])])
    page = staff.get(page_of(of)).content.decode()
    [batches] = links(page, UsageBatch)
    assert "1 (meter: 0)" in page
    listed = staff.get(batches).content.decode()
    assert f'href="{page_of(of)}"' in listed
    batch = staff.get(page_of(line.batches.get())).content.decode()
    assert f'href="{page_of(of)}"' in batch
    [holds] = links(batch, Hold)
    assert job.pk in staff.get(holds).content.decode()
    for row in (job.hold, job):
        shown = staff.get(page_of(row)).content.decode()
        assert f'href="{page_of(of)}"' in shown
        assert f'href="{page_of(line.batches.get())}"' in shown
    [entries] = links(page, LedgerEntry)
    assert staff.get(entries).status_code == 200


def test_a_batch_that_was_written_off_says_so(alice: Person, staff: Client) -> None:
    of = made.invoice(alice, "ECO-1")
    entry = made.post(of, Kind.WRITE_OFF, Account.LOSSES, Account.RECEIVABLE, 2, reason="Too old")
    batch = made.batch(made.used(alice, "512x512", 2, MARCH))
    assert "no invoice yet" in text(staff.get(page_of(batch)))
    UsageBatch.objects.filter(pk=batch.pk).update(write_off=entry)
    assert "written off: Too old" in text(staff.get(page_of(batch)))


def test_the_page_has_the_statement_that_the_customer_sees(alice: Person, staff: Client) -> None:
    page = text(staff.get(page_of(bill(alice, "ECO-1"))))
    assert "2 × 768x768 (FLUX.1 Schnell) at $0.015" in page
    assert "Total $0.05" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status__exact": "draft"}, ["ECO-4"]),
        ({"held__exact": "0"}, ["ECO-4"]),
        ({"done_at__isempty": "1"}, ["ECO-4"]),
        ({"error": "any"}, ["ECO-2", "ECO-3"]),
        ({"error": "open"}, ["ECO-2"]),
        ({"q": "eco-3"}, ["ECO-3"]),
    ],
)
def test_what_needs_a_look_is_found(
    alice: Person, staff: Client, query: dict[str, str], found: list[str]
) -> None:
    right = bill(alice, "ECO-1")
    bill(alice, "ECO-2", correction_cents=7)
    carried = bill(alice, "ECO-3", correction_cents=7)
    InvoiceLine.objects.filter(invoice=carried).update(carried_by=right.lines.first())
    made.invoice(alice, "ECO-4", status="draft", held=False)
    rows = staff.get(list_page(Invoice), query).context["cl"].result_list
    assert sorted(row.number for row in rows) == found


def test_the_number_of_queries_does_not_grow_with_the_rows(alice: Person, staff: Client) -> None:
    counts = []
    # With one invoice alone there is no other one to compare with the meter.
    for number in ("ECO-1", "ECO-2", "ECO-3"):
        of = bill(alice, number, carried_cents=1)
        InvoiceLine.objects.filter(invoice=of).update(carried_by=of.lines.first())
        if number == "ECO-3":
            made.claim(of, [made.batch(made.used(alice, "1024x768", 2, MARCH + DAY))])
        counts.append(
            [
                queries(staff, page)
                for page in (*map(list_page, (Invoice, UsageBatch, LedgerEntry)), page_of(of))
            ]
        )
    assert counts[1][:3] == counts[2][:3]
    assert counts[2][3] <= counts[1][3]


def queries(staff: Client, page: str) -> int:
    with CaptureQueriesContext(connection) as found:
        assert staff.get(page).status_code == 200
    return len(found)


def test_a_generation_without_a_batch_names_none(alice: Person, staff: Client) -> None:
    job: Generation = make.succeeded(alice)
    assert "Batch and invoice: –" in text(staff.get(page_of(job)))
