"""`manage.py up`: prepare VAR_DIR and become the supervisor of everything; Ctrl-C stops it."""

import os
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from ecohash import supervisor


class Command(BaseCommand):
    """Start the whole platform on this machine."""

    help = "Start web, workers and Redis in the foreground; Ctrl-C stops them all."

    def handle(self, *_args: Any, **_options: Any) -> None:
        os.umask(0o077)
        try:
            supervisor.make_folders()
            lock = supervisor.take_lock()
            if count := supervisor.stop_leftovers():
                self.say(f"Stopped {count} processes that an earlier run had left behind.")
            supervisor.check_ports()
            self.prepare()
            supervisor.raise_file_limit()
            supervisor.keep_lock_through_exec(lock)
            self.say(f"Starting EcoHash in {settings.VAR_DIR} (Ctrl-C stops it) ...")
            supervisor.become_supervisord()
        except supervisor.NotPossible as refusal:
            raise CommandError(str(refusal)) from None

    def prepare(self) -> None:
        """The database's tables."""
        self.say("Preparing the database ...")
        call_command("migrate", verbosity=0, interactive=False)

    def say(self, text: str) -> None:
        """One line, at once."""
        self.stdout.write(text)
        self.stdout.flush()
