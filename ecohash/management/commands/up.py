"""`manage.py up`: prepare VAR_DIR and become the supervisor of everything; Ctrl-C stops it."""

import os
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from ecohash.configuration import development, startup
from ecohash.up import config, leftovers, machine


class Command(BaseCommand):
    """Start the whole platform on this machine."""

    help = "Start web, workers and Redis in the foreground; Ctrl-C stops them all."
    requires_system_checks = ()  # startup.check() runs them, and tells the same as each process does

    def handle(self, *_args: Any, **_options: Any) -> None:
        os.umask(0o077)
        try:
            machine.make_folders()
            startup.check(writes=True)
            lock = machine.take_lock()
            if count := leftovers.stop_leftovers():
                self.say(f"Stopped {count} processes that an earlier run had left behind.")
            machine.check_ports()
            self.prepare()
            machine.raise_file_limit()
            machine.keep_lock_through_exec(lock)
            self.say(f"Starting EcoHash in {settings.VAR_DIR} (Ctrl-C stops it) ...")
            config.become_supervisord()
        except machine.CannotStart as refusal:
            raise CommandError(str(refusal)) from None
        except OSError as error:
            raise CommandError(development.var_dir_problem(error)) from None

    def prepare(self) -> None:
        """The database's tables, and in production the files that it serves by their digest."""
        self.say("Preparing the database ...")
        try:
            call_command("migrate", verbosity=0, interactive=False)
        except DatabaseError as error:
            reason = str(error).strip().partition("\n")[0]
            raise machine.CannotStart(
                f"The database cannot be prepared ({reason}). Check DATABASE_URL and that its server "
                "runs; without one, that VAR_DIR has room."
            ) from None
        if settings.PRODUCTION:
            call_command("collectstatic", verbosity=0, interactive=False)

    def say(self, text: str) -> None:
        """One line, at once."""
        self.stdout.write(text)
        self.stdout.flush()
