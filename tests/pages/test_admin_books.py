"""Checks of the books and closed months in the admin: to be read, and nothing else."""

from datetime import date

from django.test import Client
from django.utils import timezone

from billing.models import BooksCheck, ClosedMonth


def test_a_check_is_listed_and_shown(staff: Client) -> None:
    row = BooksCheck.objects.create(ended_at=timezone.now(), holds=1234, differences=5)
    assert "1234" in staff.get("/admin/billing/bookscheck/").content.decode()
    page = staff.get(f"/admin/billing/bookscheck/{row.pk}/change/").content.decode()
    assert "1234" in page
    assert 'name="_save"' not in page


def test_a_closed_month_is_shown_without_the_sums_of_each_organization(staff: Client) -> None:
    row = ClosedMonth.objects.create(
        month=date(2026, 10, 1),
        holds=4,
        captures=3,
        captured_micros=30_000,
        entries=3,
        checksum="c" * 64,
        sums={"columns": ["holds"], "organizations": {"777777": [4]}},
    )
    assert "$0.03" in staff.get("/admin/billing/closedmonth/").content.decode()
    page = staff.get(f"/admin/billing/closedmonth/{row.pk}/change/").content.decode()
    assert "c" * 64 in page
    assert "777777" not in page
    assert 'name="_save"' not in page
