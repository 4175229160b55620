"""`manage.py announce`: wait until the platform is ready, then say how to use it."""

from typing import Any

from django.core.management.base import BaseCommand

from ecohash.up import welcome


class Command(BaseCommand):
    """Wait for the platform, then print the welcome text."""

    help = "Wait until /readyz answers 200, then print the address, a sign-in, a key and a call."

    def handle(self, *_args: Any, **_options: Any) -> None:
        for line in welcome.wait_until_ready():
            self.say(line)
        self.say(welcome.text(welcome.demo_account()))

    def say(self, text: str) -> None:
        """One line, at once."""
        self.stdout.write(text)
        self.stdout.flush()
