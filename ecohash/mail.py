"""Mail on a machine without a mail server: a file for each in `VAR_DIR/mail`, and printed in development."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend


class FolderBackend(BaseEmailBackend):
    """Writes `VAR_DIR/mail/<time>-<random>.eml`, and prints the text in development."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder: Path = settings.VAR_DIR / "mail"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            path = folder / f"{stamp}-{token_hex(3)}.eml"
            path.write_bytes(message.message().as_bytes())
            path.chmod(0o600)
            if settings.PRODUCTION:
                # Other people read its log, and a link to a new password is a password.
                continue
            print(  # noqa: T201 - the terminal of `make up` is the mail reader here
                f"\n--- mail to {', '.join(message.to)}: {message.subject}\n{message.body}\n--- {path}\n",
                file=sys.stdout,
                flush=True,
            )
        return len(email_messages)
