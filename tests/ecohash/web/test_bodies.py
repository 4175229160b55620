"""Bodies without a length: each address that takes a POST reads them like any other."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import ApiKey, User
from billing.models import Refund, WebhookEvent
from images.models import Generation
from tests.accounts.entrance import PASSWORD, link_of, sign_up
from tests.accounts.keys.test_leaks import SCANNER, document, find, signed
from tests.calls import BODY, GENERATIONS
from tests.cast import Person
from tests.chunked import BrokenClient, ChunkedClient
from tests.house.test_every_address_as_a_stranger import BACKEND, addresses, drawn_by_alice
from tests.images import make
from tests.pages.admin import WHY, action_page
from tests.pages.test_stripe_webhook import EVENT, SECRET, signature_of

__all__ = ["drawn_by_alice"]

pytestmark = pytest.mark.django_db
FOX = {"prompt": "a red fox", "size": "512x512", "seed": "7"}


@pytest.fixture
def browser(alice: Person) -> Client:
    return signed_in(ChunkedClient, alice.user)


def signed_in(kind: type[Client], user: User, **options: Any) -> Any:
    client = kind(raise_request_exception=False, **options)
    client.force_login(user, backend=BACKEND)
    return client


def test_somebody_signs_up_and_in() -> None:
    browser = sign_up("fox@example.com", client=ChunkedClient())
    assert browser.post(link_of("fox@example.com"))["Location"] == "/dashboard"
    form = {"login": "fox@example.com", "password": PASSWORD}
    answer = ChunkedClient().post("/login", form)
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard")


def test_the_token_of_a_form_is_found(browser: Client) -> None:
    """Sign-in said that the form was an old one."""
    strict = ChunkedClient(enforce_csrf_checks=True)
    token = strict.get("/login").cookies["csrftoken"].value
    form = {"csrfmiddlewaretoken": token, "login": "nobody@example.com", "password": "x"}
    for kind in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        body = multipart(form) if "multipart" in kind else urlencoded(form)
        answer = strict.generic("POST", "/login", body, kind)
        assert (answer.status_code, b"are not correct" in answer.content) == (200, True), kind


def urlencoded(form: dict[str, str]) -> bytes:
    return urlencode(form).encode()


def multipart(form: dict[str, str]) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form.items()
    ]
    return "".join([*parts, "--x--\r\n"]).encode()


def test_a_key_is_made(browser: Client, alice: Person) -> None:
    assert browser.post("/dashboard/keys", {"name": "Streamed"}).status_code == 200
    assert ApiKey.objects.for_organization(alice.organization).filter(name="Streamed").exists()


def test_the_playground_generates(browser: Client, alice: Person) -> None:
    assert browser.post("/playground", FOX).status_code in {200, 302}
    [job] = Generation.objects.for_organization(alice.organization)
    assert (job.prompt, job.seed) == ("a red fox", 7)


def test_an_action_of_the_admin_is_done(alice: Person) -> None:
    alice.user.is_staff = alice.user.is_superuser = True
    alice.user.save()
    staff = signed_in(ChunkedClient, alice.user)
    image = make.succeeded(alice)
    answer = staff.post(action_page(Generation, "refund", image), {"reason": WHY})
    assert answer.status_code == 302
    assert Refund.objects.get().entry.reason == WHY


def test_an_event_of_stripe_is_kept_once(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_THIN_WEBHOOK_SECRET = SECRET
    body = json.dumps(EVENT | {"padding": "x" * 300_000}).encode()
    headers = {"Stripe-Signature": signature_of(body)}
    for _ in range(2):
        answer = ChunkedClient().post(
            "/webhooks/stripe", body, content_type="application/json", headers=headers
        )
        assert (answer.status_code, answer.content) == (200, b"")
    assert WebhookEvent.objects.get().event_id == "evt_1"


def test_a_report_of_a_leaked_key_is_taken(alice: Person, settings: Any, tmp_path: Any) -> None:
    path = tmp_path / "keys.json"
    path.write_text(document(SCANNER))
    settings.LEAK_REPORT_PUBLIC_KEYS = str(path)
    body = json.dumps([find(alice.secret)]).encode()
    answer = ChunkedClient().post(
        "/webhooks/leaked-keys", body, content_type="application/json", headers=signed(body)
    )
    assert answer.status_code == 200
    alice.key.refresh_from_db()
    assert alice.key.suspended_because


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data"])
def test_every_address_answers_as_it_answers_a_body_with_a_length(
    alice: Person, drawn_by_alice: Generation, kind: str
) -> None:
    """With a token in the form alone: who does not see the form refuses it."""
    token = "a" * 32
    form = multipart({"csrfmiddlewaretoken": token, "name": "", "seed": "x"})
    body, content_type = (
        (b"{}", kind) if kind == "application/json" else (form, f"{kind}; boundary=x")
    )
    for address in addresses(alice, drawn_by_alice):
        said = []
        for client_class in (Client, ChunkedClient):
            client = signed_in(client_class, alice.user, enforce_csrf_checks=True)
            client.cookies["csrftoken"] = token
            answer = client.generic("POST", address, body, content_type, headers=alice.headers)
            said.append((answer.status_code, answer.get("Location")))
        assert said[0] == said[1], address


# --- limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "kind", "most", "statuses"),
    [
        ("/login", "application/x-www-form-urlencoded", 256 * 1024, [200, 413]),
        ("/webhooks/stripe", "application/json", 1024 * 1024, [400, 413]),
    ],
)
def test_a_body_that_is_too_large_is_told_so(
    address: str, kind: str, most: int, statuses: list[int]
) -> None:
    answers = [
        ChunkedClient().generic("POST", address, b"a=" + b"x" * size, kind)
        for size in (most - 2, most - 1)
    ]
    assert [answer.status_code for answer in answers] == statuses


def test_a_form_in_parts_that_is_too_large_is_told_so() -> None:
    assert ChunkedClient().post("/login", {"login": "x" * 300_000}).status_code == 413
    hidden = SimpleUploadedFile("a.txt", b"x" * 300_000)
    assert ChunkedClient().post("/login", {"login": hidden}).status_code == 413
    small = SimpleUploadedFile("a.txt", b"x")
    assert ChunkedClient().post("/login", {"login": small}).status_code == 400


def test_the_api_judges_the_key_before_it_reads(alice: Person) -> None:
    class Unread(ChunkedClient):
        def request(self, **request: Any) -> Any:
            def read(*_args: Any) -> bytes:
                raise AssertionError("the body was read")

            request["wsgi.input"].read = read
            return Client.request(
                self, **request | {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
            )

    for kind in ("application/json", "multipart/form-data; boundary=x"):
        assert Unread().generic("POST", GENERATIONS, b"{}", kind).status_code == 401
    large = b" " * (1024 * 1024 + 1)
    answer = ChunkedClient().generic(
        "POST", GENERATIONS, large, "application/json", headers=alice.headers
    )
    assert answer.json()["error"]["code"] == "request_too_large"


# --- bodies that break off --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (GENERATIONS, "application/json"),
        ("/webhooks/stripe", "application/json"),
        ("/webhooks/leaked-keys", "application/json"),
        ("/login", "application/x-www-form-urlencoded"),
        ("/login", "multipart/form-data; boundary=x"),
        ("/dashboard/keys", "application/x-www-form-urlencoded"),
        ("/admin/login/", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_breaks_off_is_the_clients_fault(
    alice: Person, settings: Any, tmp_path: Any, address: str, kind: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(document(SCANNER))
    settings.LEAK_REPORT_PUBLIC_KEYS = str(path)
    client = signed_in(BrokenClient, alice.user, enforce_csrf_checks=True)
    body = json.dumps(BODY).encode() + b" " * 2_000
    answer = client.generic("POST", address, body, kind, headers=alice.headers)
    assert answer.status_code == 400
