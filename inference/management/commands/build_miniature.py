"""`build_miniature`: makes the small checkpoint that stands in for FLUX.1 Schnell, ahead of use."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference import miniature


class Command(BaseCommand):
    """Build the miniature under `VAR_DIR/models`, unless it is there, and say where."""

    help = "Builds the miniature checkpoint (16 MB, seconds), used while FLUX_MODEL is empty."
    # A new GPU host or an image build has no database yet.
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Raises CommandError when the folder cannot be written."""
        started = time.monotonic()
        try:
            folder = miniature.ensure(settings.VAR_DIR / "models")
        except OSError as error:
            message = f"VAR_DIR cannot be written ({error}): set VAR_DIR to a folder that can."
            raise CommandError(message) from error
        self.stdout.write(f"{folder} is ready after {time.monotonic() - started:.1f} s.")
