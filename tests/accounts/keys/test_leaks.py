"""Reports of leaked keys: signed as GitHub signs, answered as GitHub asks, and never repeating a key."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client

from accounts.keys import keys, leak_signatures
from accounts.keys.leak_reports import Finding
from accounts.models import Membership
from billing import tasks
from ecohash.web import leaked_keys
from tests.cast import Person
from tests.mails import sent

ADDRESS = "/webhooks/leaked-keys"
PLACE = "https://github.com/acme/app/blob/12ab/config.py"
SCANNER = ec.generate_private_key(ec.SECP256R1())


def document(key: ec.EllipticCurvePrivateKey) -> str:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    row = {"key_identifier": "k1", "key": pem.decode(), "is_current": True}
    return json.dumps({"public_keys": [row]})


@pytest.fixture(autouse=True)
def _scanner(settings, tmp_path: Path) -> None:
    """Reports of one scanner are accepted, and mail stays in memory."""
    path = tmp_path / "public_keys.json"
    path.write_text(document(SCANNER))
    settings.LEAK_REPORT_PUBLIC_KEYS = str(path)


def find(token: str, url: str = PLACE) -> dict[str, str]:
    return {"token": token, "type": "ecohash_api_key", "url": url, "source": "content"}


def signed(body: bytes, *, by: ec.EllipticCurvePrivateKey = SCANNER) -> dict[str, str]:
    signature = base64.b64encode(by.sign(body, ec.ECDSA(SHA256()))).decode()
    return {"Github-Public-Key-Identifier": "k1", "Github-Public-Key-Signature": signature}


def send(body: object, headers: dict[str, str] | None = None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = signed(raw) if headers is None else headers
    client = Client(enforce_csrf_checks=True)
    return client.post(ADDRESS, raw, content_type="application/json", headers=headers)


def test_a_leaked_key_is_shut_at_once_and_its_page_says_where_it_was_found(alice: Person) -> None:
    assert send([find(alice.secret)]).status_code == 200
    assert Client().get("/v1/models", headers=alice.headers).status_code == 401
    alice.key.refresh_from_db()
    assert alice.key.suspended_because == (
        "Found in public at github.com/acme/app/blob/12ab/config.py"
    )


def test_the_answer_tells_keys_from_other_texts_and_repeats_neither(alice: Person) -> None:
    made_up = "eco_" + "a" * 38
    answer = send([find(alice.secret), find(made_up)])
    digest = base64.b64encode(hashlib.sha256(alice.secret.encode()).digest()).decode()
    assert [row["label"] for row in answer.json()] == ["true_positive", "false_positive"]
    assert answer.json()[0] == {
        "token_hash": digest,
        "token_type": "ecohash_api_key",
        "label": "true_positive",
    }
    assert alice.secret not in answer.content.decode() and made_up not in answer.content.decode()


def test_owners_and_admins_are_told_once_which_key_and_what_to_do(
    alice: Person, bob: Person
) -> None:
    send([find(bob.secret), find(bob.secret)])
    send([find(bob.secret)])
    assert [message.to for message in sent()] == [[alice.user.email]]
    text = f"{sent()[0].subject} {sent()[0].body}"
    for words in ("Laptop", bob.key.hint, "github.com/acme/app", "Make a new key"):
        assert words in text
    assert bob.secret not in text and bob.secret[8:-4] not in text
    Membership.objects.filter(user=bob.user).update(role=Membership.Role.ADMIN)
    send([find(alice.secret)])
    assert {address for message in sent()[1:] for address in message.to} == {
        alice.user.email,
        bob.user.email,
    }


def test_a_key_that_was_revoked_before_is_still_a_true_find(alice: Person) -> None:
    keys.revoke(alice.key)
    assert send([find(alice.secret)]).json()[0]["label"] == "true_positive"
    alice.key.refresh_from_db()
    assert alice.key.suspended_at is None and not sent()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://user:pass@github.com/a/b?token={key}#{key}", "github.com/a/b"),
        ("https://gist.github.com/{key}/raw", "gist.github.com"),
        ("https://example.com/a%0Ab", "example.com"),
        ("https://example.com/a%20b", "example.com/a b"),
        ("https://[broken", ""),
        ("", ""),
    ],
)
def test_the_place_is_told_without_what_could_hold_a_key(
    alice: Person, url: str, place: str
) -> None:
    send([find(alice.secret, url.replace("{key}", alice.secret))])
    alice.key.refresh_from_db()
    assert alice.key.suspended_because == f"Found in public at {place}".removesuffix(" at ")
    assert alice.secret not in sent()[0].body


def test_a_token_reaches_no_log(alice: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    send([find(alice.secret, f"https://example.com/{alice.secret}")])
    send(alice.secret.encode())
    assert "leaked key suspended" in caplog.text
    assert alice.secret not in caplog.text + str([vars(record) for record in caplog.records])


def test_only_the_scanner_is_believed(alice: Person) -> None:
    body = json.dumps([find(alice.secret)]).encode()
    stranger = ec.generate_private_key(ec.SECP256R1())
    refused = {
        401: [
            signed(body, by=stranger),
            signed(body + b" "),
            signed(body) | {"Github-Public-Key-Identifier": "k2"},
            signed(body) | {"Github-Public-Key-Signature": "é"},
        ],
        400: [{}, {"Github-Public-Key-Identifier": "k1"}],
    }
    for status, tries in refused.items():
        for headers in tries:
            answer = send(body, headers)
            assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert keys.find(alice.secret) and not sent()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b"{}", b"[1]", [{}], [{"token": 1, "type": "x"}], b'["\xff"]'],
)
def test_what_is_no_report_is_refused_in_json(db: None, body: object) -> None:
    answer = send(body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_a_report_above_a_mebibyte_is_refused(db: None) -> None:
    assert send(b"[" + b" " * 1024 * 1024 + b"]").status_code == 413


def test_no_report_is_taken_where_no_scanner_is_named(alice: Person, settings) -> None:
    settings.LEAK_REPORT_PUBLIC_KEYS = ""
    assert send([find(alice.secret)]).status_code == 404
    assert keys.find(alice.secret)


def test_the_answer_waits_for_no_mail_server(alice: Person, settings) -> None:
    there = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "nowhere.Backend"
    assert send([find(alice.secret)]).status_code == 200
    assert keys.find(alice.secret) is None
    settings.EMAIL_BACKEND = there
    tasks.notify()
    [message] = sent()
    assert message.to == [alice.user.email]
    assert message.subject == "Your API key “Laptop” was found in public and is suspended"


def test_without_its_mail_noted_a_key_is_not_suspended(alice: Person) -> None:
    """Both are one transaction: a report that is sent again finds the key as it was."""
    no_json: Any = object()
    with pytest.raises(TypeError):
        leaked_keys.answer(Finding(token=alice.secret, type="x", place=no_json))
    assert keys.find(alice.secret) and not sent()


@pytest.mark.parametrize(
    "text", [None, "{", '{"public_keys": []}', '{"public_keys": [{"key": "x"}]}']
)
def test_a_file_of_public_keys_that_cannot_be_used_stops_the_start(
    db: None, settings, text: str | None
) -> None:
    path = Path(settings.LEAK_REPORT_PUBLIC_KEYS)
    path.write_text(text or "") if text else path.unlink()
    with pytest.raises(SystemCheckError, match=r"accounts\.E002"):
        call_command("check")
    assert send([]).status_code == 503


def test_only_p_256_keys_are_taken(settings) -> None:
    Path(settings.LEAK_REPORT_PUBLIC_KEYS).write_text(
        document(ec.generate_private_key(ec.SECP384R1()))
    )
    with pytest.raises(leak_signatures.InvalidPublicKeys):
        leak_signatures.public_keys()
