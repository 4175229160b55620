"""People at the pages of accounts: they sign up, open the link in the mail, and sign in."""

import re

from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.test import Client

from accounts.models import Organization
from tests.mails import sent

PASSWORD = "a lighthouse in the fog"
WRONG = "a fog in the lighthouse"
TOO_MANY = "Too many failed attempts to sign in."
NOT_CORRECT = "are not correct"


def sign_up(email: str, *, address: str = "192.0.2.1", client: Client | None = None) -> Client:
    """The browser in which somebody signed up."""
    client = client or Client()
    form = {"email": email, "password1": PASSWORD}
    answer = client.post("/signup", form, REMOTE_ADDR=address)
    assert answer.status_code == 302, answer.content.decode()
    assert answer["Location"] == "/verify-email"
    return client


def link_of(email: str) -> str:
    """What the mail to that address leads to, whether or not it was sent."""
    key = EmailConfirmationHMAC(EmailAddress.objects.get(email=email)).key
    return f"/verify-email/{key}"


def link_in_mail() -> str:
    """The path of the first link of the last mail."""
    found = re.search(r"https?://[^/\s]+(/(?:verify-email|password)\S+)", str(sent()[-1].body))
    assert found, sent()[-1].body
    return found[1]


def join(email: str, *, address: str = "192.0.2.1") -> tuple[Client, Organization]:
    """Somebody who signed up and verified the address, both from that network address."""
    client = sign_up(email, address=address)
    answer = client.post(link_of(email), REMOTE_ADDR=address)
    assert answer["Location"] == "/dashboard"
    return client, Organization.objects.get(memberships__user__email=email)


def sign_in(
    email: str, password: str, *, address: str = "192.0.2.1", client: Client | None = None
) -> tuple[bool, str]:
    """(whether it worked, the page that said no): from a browser that nobody knows, unless one is given."""
    client = client or Client()
    form = {"login": email, "password": password}
    answer = client.post("/login", form, REMOTE_ADDR=address)
    return answer.status_code == 302, answer.content.decode()
