"""`manage.py reconcile`: exit 0 when the books are right, else 1 and one line for each difference."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from ecohash.reconcile import differences


class Command(BaseCommand):
    """Check holds, pictures, credit and ledger against one another."""

    help = "Check the books; exit 1 with one line for each difference."

    def handle(self, *_args: Any, **_options: Any) -> None:
        # One snapshot, so that work in flight does not look like a difference.
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = list(differences())
        for line in found:
            self.stdout.write(line)
        if found:
            raise SystemExit(1)
        self.stdout.write("The books are right.")
