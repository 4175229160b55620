"""EMAIL_URL: which mail server, and how the connection to it is encrypted.

A parser of our own: django-environ takes `smtps` for STARTTLS, a `+` in a password for a space, 25 for every port that
is not named, and any word behind a `?` for an option.
"""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ecohash.configuration.environment import address, mistakes

# By scheme: the port where none is named. 587 is submission (RFC 6409), 465 submission over implicit TLS (RFC 8314).
PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465, "smtp+ssl": 465}
IMPLICIT_TLS = {"smtps", "smtp+ssl"}
OWN_MACHINE = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed over. `starttls` begins in the open and refuses to go on so; `implicit_tls` never does."""

    host: str
    port: int
    user: str
    password: str
    starttls: bool
    implicit_tls: bool


def mail_server(name: str) -> MailServer | None:
    """The value of that name as a mail server; None where it is unset, or a mistake (which is noted)."""
    text = address(name, schemes=("smtp+tls", "smtps", "smtp+ssl", "smtp"))
    if not text:
        return None
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query or parts.fragment:
        mistakes.append(
            f"{name} ends after host and port: no path and no options. A /, ? or # in a password is written "
            "percent-encoded: %2F, %3F, %23."
        )
        return None
    if bool(parts.username) != bool(parts.password):
        mistakes.append(
            f"{name} must hold both user and password (user:password@host), or neither."
        )
        return None
    return MailServer(
        host=parts.hostname or "",
        port=parts.port or PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starttls=parts.scheme == "smtp+tls",
        implicit_tls=parts.scheme in IMPLICIT_TLS,
    )


def doubt(server: MailServer) -> str:
    """Why the form hardly fits the server, with a remedy; empty where nothing speaks against it."""
    if server.port == PORTS["smtps"] and not server.implicit_tls:
        return "Port 465 expects TLS from the first byte: begin EMAIL_URL with smtps://."
    if server.port in {PORTS["smtp"], PORTS["smtp+tls"]} and server.implicit_tls:
        return f"Port {server.port} begins without TLS and changes to it: begin EMAIL_URL with smtp+tls://."
    plain = not server.starttls and not server.implicit_tls
    if plain and server.password and server.host not in OWN_MACHINE:
        return "The password goes to the mail server in the open: begin EMAIL_URL with smtp+tls:// or smtps://."
    return ""
