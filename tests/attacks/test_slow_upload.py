"""A call is judged as things stand when all of its body is there, not when its head came.

Whoever sends the body decides how long that takes. A key that is revoked meanwhile must open nothing:
each of these sends the head and half the body, has something changed, and then sends the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.attacks import uploads
from tests.attacks.beside import Beside
from tests.crowd import BODY, ask
from tests.platform import Platform

pytestmark = pytest.mark.attacks

PRICE_MICROS = 10_000
IDEMPOTENT = {"Idempotency-Key": "order 66"}
RETRY = {"x-stainless-retry-count": "1"}
ELSEWHERE = ["203.0.113.0/24"]
SECONDS_LEFT = 2.0
# A function of changes.py, what it must know of the owner, and further arguments.
Change = tuple[str, list[str], Mapping[str, Any]]
REVOKED: Change = ("revoke", ["key"], {})


@pytest.fixture(scope="module")
def platform(slow_platform: Platform) -> Platform:
    return slow_platform


@dataclass(frozen=True)
class Moment:
    """What changes while the body is under way, and what the call is answered.

    With `earlier`, the same owner has had a picture before, with these headers.
    """

    change: Change
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    earlier: Mapping[str, str] | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    owner: Mapping[str, Any] = field(default_factory=dict)
    chunked: bool = False

    def comes(self, beside: Beside, owner: Mapping[str, Any]) -> None:
        name, known, arguments = self.change
        beside(name, **{what: owner[what] for what in known}, **arguments)


NARROW_SCOPE: Change = ("narrow", ["key"], {"may_generate": False})
NARROW_NETWORKS: Change = ("narrow", ["key"], {"allowed_networks": ELSEWHERE})
LEAKED: Change = ("report_leak", ["secret"], {})
EXPIRED: Change = ("expire", ["key"], {})
ROTATED: Change = ("rotate", ["key"], {})
DELETED: Change = ("delete_key", ["key"], {})
FROZEN: Change = ("freeze", ["organization"], {})
A_REPLAY: dict[str, Any] = {"headers": IDEMPOTENT, "earlier": IDEMPOTENT}
A_JOIN: dict[str, Any] = {"headers": RETRY, "earlier": {}}

MOMENTS = {
    "revoked": Moment(REVOKED, 401),
    "revoked, chunked": Moment(REVOKED, 401, chunked=True),
    "leaked": Moment(LEAKED, 401),
    "expired by its owner": Moment(EXPIRED, 401),
    "expired by the clock": Moment(
        ("is_live", ["key"], {}), 401, owner={"lives_seconds": SECONDS_LEFT}
    ),
    "rotated without overlap": Moment(ROTATED, 401),
    "deleted": Moment(DELETED, 401),
    "scope narrowed": Moment(NARROW_SCOPE, 403),
    "networks narrowed": Moment(NARROW_NETWORKS, 403),
    "organization frozen": Moment(FROZEN, 429),
    "organization's cap lowered": Moment(("set_cap", ["organization"], {"micros": 0}), 429),
    "key's cap lowered": Moment(("narrow", ["key"], {"monthly_cap_micros": 0}), 429),
    "places in flight taken": Moment(("fill_places", ["organization"], {}), 429),
    "credit spent": Moment(
        ("spend_credit", ["organization"], {}), 429, owner={"credit_micros": PRICE_MICROS}
    ),
    "by key: revoked": Moment(REVOKED, 401, headers=IDEMPOTENT),
    "by key: frozen": Moment(FROZEN, 429, headers=IDEMPOTENT),
    "replay: revoked": Moment(REVOKED, 401, **A_REPLAY),
    "replay: another body": Moment(REVOKED, 401, **A_REPLAY, body={"seed": 5}),
    "replay: leaked": Moment(LEAKED, 401, **A_REPLAY),
    "replay: expired": Moment(EXPIRED, 401, **A_REPLAY),
    "replay: rotated": Moment(ROTATED, 401, **A_REPLAY),
    "replay: scope narrowed": Moment(NARROW_SCOPE, 403, **A_REPLAY),
    "replay: networks narrowed": Moment(NARROW_NETWORKS, 403, **A_REPLAY),
    "join: revoked": Moment(REVOKED, 401, **A_JOIN),
    "join: leaked": Moment(LEAKED, 401, **A_JOIN),
    "join: networks narrowed": Moment(NARROW_NETWORKS, 403, **A_JOIN),
}


def upload(
    platform: Platform, beside: Beside, owner: Mapping[str, Any], moment: Moment
) -> uploads.Upload:
    """Half a call, whose key was found to be good by now."""
    body = BODY | dict(moment.body)
    call = uploads.api_call(
        platform.port, owner["secret"], body, moment.headers, chunked=moment.chunked
    )
    platform.wait_for(lambda: beside("was_let_in", key=owner["key"]), "let in")
    return call


@pytest.mark.parametrize("title", MOMENTS)
def test_what_changed_before_the_last_byte_holds(
    platform: Platform, beside: Beside, title: str
) -> None:
    moment = MOMENTS[title]
    owner = beside("new_owner", **moment.owner)
    if moment.earlier is not None:
        had = ask(platform.port, owner["secret"], headers=moment.earlier)
        assert had.status == 200, had.body
    call = upload(platform, beside, owner, moment)
    moment.comes(beside, owner)
    if "lives_seconds" in moment.owner:
        platform.wait_for(lambda: not beside("is_live", key=owner["key"]), "expired")
    before = beside("books", organization=owner["organization"])
    answer = call.finish()
    assert answer.status == moment.status, answer.body
    assert ("www-authenticate" in answer.headers) is (moment.status == 401)
    # A key that is no key any more is not told what its organization has left.
    assert ("x-ratelimit-limit-requests" in answer.headers) is (moment.status != 401)
    assert beside("books", organization=owner["organization"]) == before


@pytest.mark.parametrize("headers", [{}, IDEMPOTENT, RETRY])
def test_without_a_change_the_same_call_gets_its_picture(
    platform: Platform, beside: Beside, headers: Mapping[str, str]
) -> None:
    owner = beside("new_owner")
    moment = Moment(REVOKED, 200, headers=headers)
    answer = upload(platform, beside, owner, moment).finish()
    assert answer.status == 200, answer.body
    assert beside("books", organization=owner["organization"])[3] == [0, PRICE_MICROS]


@dataclass(frozen=True)
class Form:
    """A form that its sender may not send any more when its last byte comes."""

    path: str
    fields: Mapping[str, str]
    change: str
    known: str = "user"
    staff: bool = False


DRAW = {"prompt": "a red fox", "size": "512x512", "seed": "1"}
A_KEY = {"name": "Another"}
TERMS = {"name": "Changed", "access": "usage.read"}
GRANT = {"amount_micros": "5", "reason": "a gift"}
FORMS = {
    "draw: deactivated": Form("/playground", DRAW, "deactivate"),
    "draw: removed": Form("/playground", DRAW, "remove_member"),
    "draw: signed out": Form("/playground", DRAW, "sign_out", "session"),
    "draw: frozen": Form("/playground", DRAW, "freeze", "organization"),
    "make a key: deactivated": Form("/dashboard/keys", A_KEY, "deactivate"),
    "make a key: removed": Form("/dashboard/keys", A_KEY, "remove_member"),
    "make a key: signed out": Form("/dashboard/keys", A_KEY, "sign_out", "session"),
    "make a key: demoted": Form("/dashboard/keys", A_KEY, "pay_only"),
    "change a key: demoted": Form("/dashboard/keys/{key}", TERMS, "pay_only"),
    "rotate a key: demoted": Form("/dashboard/keys/{key}/rotate", {"overlap": "0"}, "pay_only"),
    "revoke a key: removed": Form("/dashboard/keys/{key}/revoke", {}, "remove_member"),
    "set a limit: demoted": Form("/dashboard/billing", {"limit": "5"}, "demote"),
    "subscribe: demoted": Form("/dashboard/billing/subscribe", {"limit": "5"}, "demote"),
    "grant: no staff any more": Form(
        "/admin/accounts/organization/act/grant/?pk={organization}",
        GRANT,
        "take_staff_away",
        staff=True,
    ),
    "refund: deactivated": Form(
        "/admin/accounts/organization/act/refund/?pk={organization}",
        GRANT,
        "deactivate",
        staff=True,
    ),
}
TO_SIGN_IN, FORBIDDEN, NOT_DONE = 302, 403, 422


@pytest.mark.parametrize("title", FORMS)
def test_a_form_is_judged_when_all_of_it_is_there(
    platform: Platform, beside: Beside, title: str
) -> None:
    form = FORMS[title]
    owner = beside("new_owner", staff=form.staff)
    who = {"user": owner["user"], "organization": owner["organization"]}
    call = uploads.form(platform.port, form.path.format(**owner), owner["session"], form.fields)
    before = beside("cast", **who), beside("books", organization=owner["organization"])
    beside(form.change, **{form.known: owner[form.known]})
    answer = call.finish()
    assert answer.status in {TO_SIGN_IN, FORBIDDEN, NOT_DONE}, answer.body
    if answer.status == TO_SIGN_IN:
        assert "login" in answer.headers["location"]
    after = beside("cast", **who), beside("books", organization=owner["organization"])
    assert after == before


@pytest.mark.parametrize(
    "title",
    [
        "draw: deactivated",
        "make a key: demoted",
        "set a limit: demoted",
        "grant: no staff any more",
    ],
)
def test_without_a_change_the_same_form_is_done(
    platform: Platform, beside: Beside, title: str
) -> None:
    form = FORMS[title]
    owner = beside("new_owner", staff=form.staff)
    who = {"user": owner["user"], "organization": owner["organization"]}
    call = uploads.form(platform.port, form.path.format(**owner), owner["session"], form.fields)
    before = beside("cast", **who), beside("books", organization=owner["organization"])
    answer = call.finish()
    assert answer.status in {200, 302}, answer.body
    after = beside("cast", **who), beside("books", organization=owner["organization"])
    assert after != before
