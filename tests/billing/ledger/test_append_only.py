"""Ledger rows and prices are written once, whoever asks for more."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing.models import Immutable, LedgerEntry, Price
from tests.cast import Person

VERBS: dict[str, Callable[[Any], Any]] = {
    "update": lambda model: model.objects.update(amount_micros=1),
    "delete": lambda model: model.objects.all().delete(),
    "save a changed row": lambda model: model.objects.first().save(),
    "delete one row": lambda model: model.objects.first().delete(),
    "bulk_update": lambda model: model.objects.bulk_update(model.objects.all(), ["amount_micros"]),
    "update_or_create": lambda model: model.objects.update_or_create(
        pk=model.objects.first().pk, defaults={"amount_micros": 1}
    ),
}


@pytest.mark.parametrize("model", [LedgerEntry, Price])
@pytest.mark.parametrize("verb", VERBS)
def test_our_own_code_cannot_change_a_row(alice: Person, model: Any, verb: str) -> None:
    before = list(model.objects.values())
    with pytest.raises(Immutable, match="never"), transaction.atomic():
        VERBS[verb](model)
    assert list(model.objects.values()) == before


@pytest.mark.parametrize("table", ["billing_ledgerentry", "billing_price"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET amount_micros = 1", "DELETE FROM {}"])
def test_postgresql_refuses_everyone_else(alice: Person, table: str, statement: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("the trigger is PostgreSQL's; run with DATABASE_URL set")
    refused = pytest.raises(DatabaseError, match="append-only")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))
