"""Books of months that are over."""

from datetime import date, datetime, timedelta
from io import StringIO

from django.core.management import call_command
from django.db import connection, transaction

from billing.ledger import budgets
from billing.models import Budget, Hold, UsageBatch, UsageHour
from ecohash.reconcile.spans import midnight


def month_ago(months: int = 1) -> date:
    """The first day of the month so many months before this one."""
    month = budgets.this_month()
    for _ in range(months):
        month = (month - timedelta(days=1)).replace(day=1)
    return month


def move_all_books(month: date) -> None:
    """Whatever has happened so far has happened in the middle of that month."""
    then = midnight(month) + timedelta(days=14)
    Hold.objects.update(month=month, created_at=then)
    Hold.objects.exclude(ended_at=None).update(ended_at=then)
    Budget.objects.update(month=month)
    UsageHour.objects.update(hour=then)
    past_triggers(
        "UPDATE billing_ledgerentry SET created_at = %s", then, table="billing_ledgerentry"
    )
    past_triggers(
        "UPDATE billing_usagebatch SET first_captured_at = %s, last_captured_at = %s",
        then,
        then,
        table=UsageBatch._meta.db_table,
    )


def past_triggers(statement: str, *values: datetime | int, table: str) -> None:
    """Past our own code, and past PostgreSQL's triggers, which would refuse."""
    trigger = f"ALTER TABLE {table} {{}} TRIGGER USER"
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(trigger.format("DISABLE"))
        cursor.execute(statement, values)
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(trigger.format("ENABLE"))


def reconcile(*words: str) -> tuple[int, list[str]]:
    """The command's exit status and the lines that it printed."""
    out = StringIO()
    try:
        call_command("reconcile", *words, stdout=out, stderr=StringIO())
    except SystemExit as leaving:
        return int(leaving.code or 0), out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()
