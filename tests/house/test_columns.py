"""Every text that is stored has a limit before the database's own, and SQLite measures like PostgreSQL.

A stranger's text that only PostgreSQL measures is a fault (500) in production that no test on SQLite sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction

from accounts import base62
from accounts.forms import LIMIT_LIMIT, KeyForm
from accounts.http import request_id
from accounts.keys import key_format, leak_reports
from accounts.models import EMAIL_LIMIT, ApiKey, Organization, User
from accounts.sign_in import mailboxes
from billing import outbox
from billing.admin.actions import AmountField
from billing.gateway import creating, webhooks
from billing.refunds import LONGEST_REASON
from ecohash.signup import name_of_organization
from images import catalog
from images.jobs import idempotency
from images.models import new_generation_id, new_image_token
from inference.worker import name_of_worker
from tests.cast import Person

OURS = ("accounts", "billing", "images")
SHA256 = "0" * 64
MODELS = max(catalog.MODELS, key=len)
SIZES = max(catalog.SIZES, key=len)
# Where it stands in the text, a row of ours cuts it there.
CUT = ""
OF_STRIPE = "x" * outbox.STRIPE_ID_LENGTH
# The longest text that can come into each column, from whatever writes it.
LONGEST: dict[str, str] = {
    "accounts.User.email": "x" * EMAIL_LIMIT,
    # Nothing of ours asks for these.
    "accounts.User.first_name": CUT,
    "accounts.User.last_name": CUT,
    "accounts.User.password": "pbkdf2_sha256$1000000$" + "x" * 22 + "$" + "x" * 44,
    "accounts.Organization.name": name_of_organization("x" * 249 + "@a.b"),
    "accounts.ApiKey.name": "x" * (KeyForm.base_fields["name"].max_length or 0),  # type: ignore[attr-defined]
    "accounts.ApiKey.prefix": "eco_Ab12",
    "accounts.ApiKey.last_four": "wxyz",
    "accounts.ApiKey.digest": key_format.digest("x", "x"),
    "accounts.ApiKey.suspended_because": f"Found in public at {'x' * leak_reports.LONGEST_PLACE}",
    "images.Generation.id": new_generation_id(),
    "images.Generation.request_id": request_id.new(),
    "images.Generation.model": MODELS,
    "images.Generation.size": SIZES,
    "images.Generation.response_format": "b64_json",
    "images.Generation.idempotency_key": SHA256,
    "images.Generation.body_digest": idempotency.digest({"prompt": "x" * 4_000}),
    "images.Generation.worker": name_of_worker("x" * 255),
    "images.Generation.error_code": "content_policy_violation",
    "images.Generation.engine": "x" * 160,
    "images.Image.token": new_image_token(),
    "images.Image.storage_key": f"2026/11/30/{new_generation_id()}-{base62.random(32)}.png",
    "images.Image.sha256": SHA256,
    "billing.Invoice.note": CUT,
    "billing.Invoice.stripe_id": OF_STRIPE,
    "billing.Invoice.customer_id": OF_STRIPE,
    "billing.Invoice.subscription_id": OF_STRIPE,
    "billing.Invoice.number": OF_STRIPE,
    # An id of Stripe's, which has a few dozen characters in practice, and a word of ours.
    "billing.LedgerEntry.reference": f"{'x' * 235}:write_off_paid:2",
    "billing.Price.model": MODELS,
    "billing.Price.size": SIZES,
    "billing.LedgerEntry.reason": "x" * LONGEST_REASON,
    "billing.StripeObject.name": "portal configuration",
    "billing.StripeObject.stripe_id": OF_STRIPE,
    "billing.CreationKey.identity": "x" * creating.LONGEST_IDENTITY,
    "billing.MeteredPrice.event_name": f"ecohash_production_{MODELS}_{SIZES}_v999999",
    "billing.MeteredPrice.meter_id": OF_STRIPE,
    "billing.MeteredPrice.stripe_price_id": OF_STRIPE,
    "billing.Subscription.customer_id": OF_STRIPE,
    "billing.Subscription.subscription_id": OF_STRIPE,
    "billing.Subscription.checkout_id": OF_STRIPE,
    "billing.SubscriptionItem.item_id": OF_STRIPE,
    "billing.WebhookEvent.event_id": "x" * webhooks.LONGEST["id"],
    "billing.WebhookEvent.type": "x" * webhooks.LONGEST["type"],
    "billing.WebhookEvent.object_id": "x" * webhooks.LONGEST["object_id"],
    "billing.WebhookEvent.note": CUT,
    "billing.Notice.kind": "second_subscription",
    "billing.Notice.subject": CUT,
    "billing.Notice.note": CUT,
    "billing.SpendAlert.note": CUT,
    "billing.OutgoingMail.kind": "email_confirmation_signup",
    "billing.OutgoingMail.recipient": "x" * EMAIL_LIMIT,
    "billing.OutgoingMail.recipient_digest": mailboxes.digests("a@example.com")[0],
    "billing.OutgoingMail.note": CUT,
    "billing.Refund.by": "x" * EMAIL_LIMIT,
    "billing.Refund.stripe_id": OF_STRIPE,
    "billing.Refund.note": CUT,
    "billing.ClosedMonth.checksum": SHA256,
    "billing.Trial.mailbox": SHA256,
    "billing.TrialNetwork.network": SHA256,
    "billing.UsageBatch.customer_id": OF_STRIPE,
    "billing.UsageBatch.note": CUT,
    "billing.UsageAttempt.idempotency_key": f"eco:production:{'x' * 36}:2147483647:2147483647",
    "billing.UsageAttempt.outcome": "duplicate",
    "billing.UsageAttempt.detail": CUT,
    "billing.SendingPause.key_digest": SHA256[:16],
    "billing.SendingPause.detail": CUT,
}


def text_columns() -> Iterator[tuple[str, models.CharField[Any, Any]]]:
    """Each column of ours that holds a text with a limit, and takes others than a few known words."""
    for label in OURS:
        for model in apps.get_app_config(label).get_models():
            for field in model._meta.local_concrete_fields:
                if isinstance(field, models.CharField) and not field.choices:
                    yield f"{label}.{model.__name__}.{field.name}", field


def test_each_column_of_text_says_what_can_come_into_it() -> None:
    assert {name for name, _ in text_columns()} == set(LONGEST)


@pytest.mark.parametrize(("name", "field"), list(text_columns()), ids=str)
def test_what_comes_into_a_column_fits(name: str, field: Any) -> None:
    assert len(LONGEST[name]) <= field.max_length


def test_words_that_are_known_fit() -> None:
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, models.CharField):
                assert field.max_length, field
                assert all(len(str(word)) <= field.max_length for word, _ in field.flatchoices), (
                    field
                )


def test_numbers_that_are_typed_fit() -> None:
    most_integer, most_big = 2**31 - 1, 2**63 - 1
    assert most_integer >= LIMIT_LIMIT
    dollars: Any = AmountField()
    assert most_big >= dollars.max_value * 1_000_000
    assert most_big >= catalog.SEED_LIMIT


# --- both databases refuse the same -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "column", "fits", "too_much"),
    [
        (Organization, "name", "x" * 100, "x" * 101),
        (Organization, "name", "é" * 100, "é" * 101),
        (Organization, "name", "x", "x\0"),
        (Organization, "requests_per_minute", 2**31 - 1, 2**31),
        (ApiKey, "pepper_version", 2**15 - 1, 2**15),
        (User, "email", "x" * 254, "x" * 255),
    ],
)
def test_a_column_takes_what_fits_and_nothing_more(
    alice: Person, model: Any, column: str, fits: Any, too_much: Any
) -> None:
    row = {Organization: alice.organization, ApiKey: alice.key, User: alice.user}[model]
    rows = model.objects.filter(pk=row.pk)
    assert rows.update(**{column: fits}) == 1
    with pytest.raises(DatabaseError), transaction.atomic():
        rows.update(**{column: too_much})


def test_each_text_and_number_of_ours_is_measured_on_sqlite(db: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL measures by itself")
    measured = (models.CharField, models.IntegerField)
    with connection.cursor() as cursor:
        for label in OURS:
            for model in apps.get_app_config(label).get_models():
                cursor.execute(
                    "SELECT sql FROM sqlite_master WHERE name = %s", [model._meta.db_table]
                )
                written = cursor.fetchone()[0]
                for field in model._meta.local_concrete_fields:
                    check = field.db_check(connection)
                    if isinstance(field, measured) and not isinstance(
                        field, models.BigIntegerField
                    ):
                        assert check is None or check in written, field
                    if isinstance(field, models.CharField):
                        assert check and str(field.max_length) in check


def test_a_question_with_a_nul_is_refused_by_both(db: None) -> None:
    with pytest.raises((DatabaseError, ValueError)), transaction.atomic():
        list(User.objects.filter(email="x\0"))
