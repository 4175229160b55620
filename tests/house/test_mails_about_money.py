"""Every kind of mail that the code notes has its text, and every text is noted somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.template import engines

from billing.mails import notices
from billing.models import Notice
from tests.cast import Person
from tests.mails import sent
from tests.servers import ROOT

FOLDER = ROOT / "templates" / "emails" / "money"
# What a call hands on from elsewhere, and what is not a word.
FACTS: dict[str, Any] = {
    "number": "ECO-0001",
    "cents": 1234,
    "page": "https://invoice.example.com/1",
    "until": "3 December 2026",
    "allowance": 5_000_000,
    "count": 2,
    "known": 1,
    "micros": 5_000_000,
    "lines": ["I6 batch 7 is rejected"],
}
OF_AN_INVOICE = ("number", "cents", "page", "until", "allowance")
MISSING = "MISSING"


def calls() -> Iterator[tuple[str, dict[str, Any]]]:
    """The kind and facts of each call of `notices.note`, directly or through a room's own `_tell_staff`."""
    for app in ("accounts", "billing", "images", "ecohash"):
        for path in sorted((ROOT / app).rglob("*.py")):
            yield from calls_in(path)


def calls_in(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    tree = ast.parse(path.read_text())
    shared = next((dict(facts_of(call)) for call in noted(tree) if kind_of(call) is None), {})
    for call in noted(tree):
        if kind := kind_of(call):
            yield kind, {**(shared if name_of(call) == "_tell_staff" else {}), **facts_of(call)}


def noted(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node) in {"note", "_tell_staff"} and node.args:
            yield node


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def kind_of(call: ast.Call) -> str | None:
    first = call.args[0]
    return str(first.value) if isinstance(first, ast.Constant) else None


def facts_of(call: ast.Call) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            facts |= {name: FACTS[name] for name in OF_AN_INVOICE}
        else:
            facts[keyword.arg] = FACTS.get(keyword.arg, f"<{keyword.arg}>")
    return facts


NOTED = list(calls())


def test_every_text_is_noted_somewhere() -> None:
    texts = {path.stem for path in FOLDER.glob("*.txt")}
    assert texts == {kind for kind, _ in NOTED}
    assert len(texts) >= 20


@pytest.mark.parametrize(("kind", "facts"), NOTED, ids=[kind for kind, _ in NOTED])
def test_every_mail_has_a_subject_a_text_and_a_link(
    alice: Person,
    kind: str,
    facts: dict[str, Any],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    engine: Any = engines["django"]
    monkeypatch.setattr(engine.engine, "string_if_invalid", MISSING)
    alice.user.is_staff = True
    alice.user.save()
    facts = dict(facts)
    organization = alice.organization if "organization" in facts else None
    facts.pop("organization", None)
    notices.note(kind, organization=organization, **facts)
    assert notices.send_due() == 1
    [told] = sent()
    assert told.to == ["alice@example.com"]
    assert 10 < len(told.subject) < 100
    whole = f"{told.subject}\n{told.body}"
    assert MISSING not in whole
    # Plain text: a name with an ampersand stays as it is, and no gaps are left where a part is missing.
    assert "&lt;" not in whole
    assert not re.search(r"\n{3}|[ \t]\n|[{}]", whole)
    place = "/dashboard/billing" if organization else "/admin/"
    if kind == "key_leaked":
        place = "/dashboard/keys"
    assert f"{settings.BASE_URL}{place}" in told.body
    assert Notice.objects.get().done_at


def test_a_page_that_stripe_did_not_give_is_left_out(alice: Person, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    for kind in ("payment_failed", "payment_action"):
        facts: dict[str, Any] = {
            "number": "",
            "cents": 50,
            "page": None,
            "until": "",
            "allowance": 5_000_000,
        }
        notices.note(kind, organization=alice.organization, **facts)
    notices.send_due()
    for told in sent():
        assert "an invoice over $0.50" in told.body
        assert "None" not in told.body
        assert not re.search(r"\n{3}", str(told.body))
