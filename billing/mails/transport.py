"""The connection to the mail server, and what its answers mean: for one mail, or for all of them."""

import re
import smtplib
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from billing.models import OutgoingMail

SERVICE_CLOSES = 421
PERMANENT = 500
# A wrong password or sender, no STARTTLS, a certificate that is not trusted, a name that nobody knows.
FOR_STAFF = (
    *(smtplib.SMTPAuthenticationError, smtplib.SMTPSenderRefused, smtplib.SMTPNotSupportedError),
    *(ssl.SSLCertVerificationError, socket.gaierror),
)
# A server may repeat the address, and spam filters quote links: neither belongs in a log or in the admin.
PRIVATE = re.compile(r"\S*@\S*|\S*://\S*|\S{40,}")


class ServerAway(Exception):
    """Nothing can be sent at the moment: no connection, no answer, no sign-in, or no mail from our address.

    `needs_staff` is whether it stays so until somebody changes something.
    """

    def __init__(self, reason: str, *, needs_staff: bool = False) -> None:
        super().__init__(reason)
        self.needs_staff = needs_staff


class MailRefused(Exception):
    """The server did not take this one mail; `permanent` is whether it said that it never will."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.permanent = permanent


class Transport:
    """A connection that is opened for the first mail and closed after the last one."""

    def __init__(self) -> None:
        self._connection: Any = None

    def send(self, mail: OutgoingMail) -> None:
        """Hand one mail to the server.

        Raises:
            ServerAway: the connection is of no more use.
            MailRefused: the next mail may go over the same connection.
        """
        try:
            if self._connection is None:
                self._connection = get_connection(fail_silently=False)
                self._connection.open()
            self._connection.send_messages([message_of(mail)])
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            raise _refused(code, text) from None
        except smtplib.SMTPDataError as error:
            raise _refused(error.smtp_code, error.smtp_error) from None
        except OSError as error:
            # Also where the server refuses our own address: that is the fault of no single mail.
            raise ServerAway(reason_of(error), needs_staff=isinstance(error, FOR_STAFF)) from None
        except ValueError as error:
            # An address or a header that no mail can have.
            raise MailRefused(type(error).__name__, permanent=True) from None

    def close(self) -> None:
        """End the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except OSError:
                # The mails that it carried are sent all the same.
                return


def message_of(mail: OutgoingMail) -> EmailMessage:
    """The mail as it is sent. Where it is sent twice, programs that read mail know it by its Message-ID."""
    headers = {
        "Message-ID": f"<{mail.reference}@{urlsplit(settings.BASE_URL).hostname}>",
        # No answering machine answers it: RFC 3834.
        "Auto-Submitted": "auto-generated",
    }
    return EmailMessage(mail.subject, mail.body, to=[mail.recipient], headers=headers)


def reason_of(error: OSError) -> str:
    """What went wrong, without addresses and links, for the log and for staff."""
    if isinstance(error, smtplib.SMTPResponseException):
        return _told(error.smtp_code, error.smtp_error, before=f"{type(error).__name__}: ")
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be verified: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = error.strerror or str(error)
    return PRIVATE.sub("…", f"{type(error).__name__}: {text}")


def _refused(code: int, text: bytes | str) -> Exception:
    reason = _told(code, text)
    if code == SERVICE_CLOSES:
        return ServerAway(reason)
    return MailRefused(reason, permanent=code >= PERMANENT)


def _told(code: int, text: bytes | str, *, before: str = "") -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{before}{code} {PRIVATE.sub('…', ' '.join(words.split()))}"
