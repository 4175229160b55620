"""`manage.py backup`: copy the SQLite database to VAR_DIR/backups now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ecohash.sqlite import backups


class Command(BaseCommand):
    """The backup of today, by hand; an earlier one of today is replaced."""

    help = "Copy the SQLite database to VAR_DIR/backups and check the copy; the platform may run."

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            path = backups.make()
        except backups.BackupFailed as failure:
            raise CommandError(str(failure)) from None
        self.stdout.write(f"{path} ({path.stat().st_size:,} bytes, checked)")
